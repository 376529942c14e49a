// Live updates: facts arrive as server-sent events; the page is fetched again
// and merged into what is shown, unless the reader is writing or deciding.
"use strict";

const fettle = {
  // onRefresh holds what has to be drawn again after the page changed.
  onRefresh: [],

  // refresh merges url into the page. Focus, open details and what is typed
  // stay, because elements are kept and only differences are written.
  async refresh(url) {
    const answer = await fetch(url, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (answer.redirected && new URL(answer.url).pathname === "/login") {
      location.assign(answer.url);
      return;
    }
    if (!answer.ok) return;
    await htmx.swap({
      text: await answer.text(),
      sourceElement: document.body,
      target: document.getElementById("main"),
      select: "#main",
      swap: "outerMorph",
      selectOOB: "#rail:outerMorph,#set:outerMorph",
    });
    for (const f of fettle.onRefresh) f();
  },

  // visit changes the range or filter in the address without losing the place.
  async visit(url) {
    history.pushState({}, "", url);
    await fettle.refresh(url);
  },
};

addEventListener("popstate", () => fettle.refresh(location.href));

(() => {
  const body = document.body;
  const about = body.dataset.live;
  if (!about) return;
  const subjects = about === "*" ? null : new Set(about.split(" "));
  const main = () => document.getElementById("main");
  const say = document.getElementById("say");
  const news = document.getElementById("news");

  // busy tells that replacing the page would take something from the reader.
  let dirty = false;
  addEventListener("input", (e) => { if (main().contains(e.target)) dirty = true; });
  addEventListener("submit", () => { dirty = false; });
  const busy = () =>
    dirty || body.hasAttribute("data-hold") ||
    (main().contains(document.activeElement) && document.activeElement.matches("input, textarea, select"));

  // At most one refresh in two seconds and one announcement in ten.
  let texts = [];
  let waiting = 0, running = false, last = 0, said = 0;
  const announce = () => {
    if (!texts.length || Date.now() - said < 10000) return;
    said = Date.now();
    say.textContent = texts.length === 1 ? texts[0] : `${texts.length} updates. Latest: ${texts[texts.length - 1]}`;
    texts = [];
  };
  setInterval(announce, 1000);

  async function update() {
    waiting = 0;
    if (document.hidden) { waiting = -1; return; }
    if (busy()) { news.hidden = false; news.querySelector("a").href = location.href; return; }
    running = true;
    try { await fettle.refresh(location.href); } catch { /* the next event tries again */ }
    running = false;
    last = Date.now();
  }
  function soon() {
    if (waiting > 0 || running && waiting) return;
    waiting = setTimeout(update, Math.max(300, last + 2000 - Date.now()));
  }
  addEventListener("visibilitychange", () => { if (!document.hidden && waiting === -1) { waiting = 0; soon(); } });

  const stream = new EventSource(`/events?after=${body.dataset.seq}`);
  stream.addEventListener("fact", (e) => {
    const f = JSON.parse(e.data);
    if (subjects && !subjects.has(f.subject)) return;
    texts.push(f.text);
    announce();
    soon();
  });
  stream.addEventListener("reset", soon);
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
})();
