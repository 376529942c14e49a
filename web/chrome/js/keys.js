// Keys: all optional. None approves, denies, runs or stops anything.
"use strict";

(() => {
  if (!document.body.hasAttribute("data-keys")) return;
  const places = { o: "/", i: "/incidents", c: "/changes", a: "/approvals", b: "/backlog", s: "/series" };
  let go = 0;

  function row(step) {
    const rows = [...document.querySelectorAll("main .table .title, main .list .title")];
    if (!rows.length) return;
    const i = rows.indexOf(document.activeElement);
    rows[Math.min(rows.length - 1, Math.max(0, i + step))].focus();
  }
  const follow = (key) => document.querySelector(`main a[data-key="${key}"]`)?.click();

  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
    if (e.target.closest("input, textarea, select, [contenteditable]")) return;
    const wasGo = Date.now() - go < 1500;
    go = 0;
    if (wasGo && places[e.key]) { location.assign(places[e.key]); return; }
    switch (e.key) {
      case "/": document.getElementById("find")?.focus(); break;
      case "g": go = Date.now(); return;
      case "j": row(1); break;
      case "k": row(-1); break;
      case "f": document.querySelector("#facets input, #facets select")?.focus(); break;
      case "t": document.querySelectorAll("details.twin").forEach((d) => { d.open = !d.open; }); break;
      case "[": case "]": follow(e.key); break;
      case "?": document.getElementById("keys")?.togglePopover(); break;
      default: return;
    }
    e.preventDefault();
  });
})();
