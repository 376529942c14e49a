// Charts: the server's drawing is replaced by a live one with the same
// geometry. Colours are read from the drawing, so themes stay in the stylesheet.
"use strict";

(() => {
  const TOP = 14, BOTTOM = 22, HEIGHT = 240;
  const live = new Map(); // figure -> {plot, data, theme}

  const number = (v) => {
    if (v == null) return "–";
    const a = Math.abs(v);
    const digits = a < 1 ? 3 : a < 10 ? 2 : a < 100 ? 1 : 0;
    return v.toLocaleString("en-US", { maximumFractionDigits: digits }).replace("-", "−");
  };
  const stamp = (t, daily) => {
    const d = new Date(t * 1000);
    const part = (o) => d.toLocaleString("en-GB", { timeZone: "UTC", ...o });
    const day = `${part({ weekday: "short" })} ${d.getUTCDate()} ${part({ month: "short" })}`;
    return daily ? `${day} ${d.getUTCFullYear()}` : `${day} ${d.toISOString().slice(11, 19)} UTC`;
  };

  // paint reads the colours of the static drawing in the theme of now.
  function paint(figure) {
    const of = (selector, property) => {
      const e = figure.querySelector(`svg.static ${selector}`);
      return e ? getComputedStyle(e)[property] : "";
    };
    return {
      text: of("text", "fill"), grid: of(".grid", "stroke"), halo: of(".halo", "stroke"),
      lines: [1, 2, 3].map((i) => of(`.s${i}`, "stroke")),
      limit: of(".limit", "stroke"), shade: of(".shade", "fill"), flag: of(".flag", "fill"), flagText: of(".flag-n", "fill"), marker: of(".marker", "stroke"),
      font: getComputedStyle(document.body).fontFamily,
    };
  }

  function draw(figure) {
    const raw = figure.dataset.chart;
    const known = live.get(figure);
    if (known && known.raw === raw) return;
    if (known) known.plot.destroy();
    const data = JSON.parse(raw);
    const box = figure.querySelector("[data-plot]");
    const still = figure.querySelector("svg.static");
    if (!data.x.length) { box.hidden = true; live.delete(figure); return; }
    const c = paint(figure);
    box.hidden = false;
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", still.getAttribute("aria-label"));

    const dpr = devicePixelRatio || 1;
    const font = (weight, size) => `${weight} ${size * dpr}px ${c.font}`;
    const text = (u, s, x, y, align, weight = 400) => {
      const k = u.ctx;
      k.font = font(weight, 11); k.textAlign = align; k.textBaseline = "alphabetic"; k.lineJoin = "round";
      k.strokeStyle = c.halo; k.lineWidth = 4 * dpr; k.strokeText(s, x, y);
      k.fillStyle = c.text; k.fillText(s, x, y);
    };
    const line = (u, x1, y1, x2, y2, colour, dash, width = 1) => {
      const k = u.ctx;
      k.strokeStyle = colour; k.lineWidth = width * dpr; k.setLineDash(dash.map((d) => d * dpr));
      k.beginPath(); k.moveTo(x1, y1); k.lineTo(x2, y2); k.stroke(); k.setLineDash([]);
    };

    function under(u) {
      const { left, top, width, height } = u.bbox;
      u.ctx.save();
      if (data.shade) {
        const a = Math.max(left, u.valToPos(data.shade.from, "x", true));
        const b = Math.min(left + width, u.valToPos(data.shade.to, "x", true));
        if (b > a) { u.ctx.globalAlpha = 0.08; u.ctx.fillStyle = c.shade; u.ctx.fillRect(a, top, b - a, height); u.ctx.globalAlpha = 1; }
      }
      for (let v = 0; v <= data.top + data.step / 2; v += data.step) {
        const y = u.valToPos(v, "y", true);
        line(u, left, y, left + width, y, c.grid, []);
      }
      u.ctx.restore();
    }
    function over(u) {
      const { left, top, width, height } = u.bbox;
      const k = u.ctx;
      k.save();
      if (data.limit != null) {
        const y = u.valToPos(data.limit, "y", true);
        line(u, left, y, left + width, y, c.limit, [5, 3], 1.25);
      }
      for (let v = 0; v <= data.top + data.step / 2; v += data.step) {
        const unit = v + data.step > data.top + data.step / 2 && data.unit ? " " + data.unit : "";
        text(u, number(v) + unit, left, u.valToPos(v, "y", true) - 4 * dpr, "left");
      }
      for (const m of data.marks || []) {
        const x = u.valToPos(m.at, "x", true);
        if (x < left || x > left + width) continue;
        line(u, x, top + 4 * dpr, x, top + height, c.marker, [3, 2]);
        k.fillStyle = c.flag; k.beginPath(); k.arc(x, 10 * dpr, 8 * dpr, 0, 7); k.fill();
        k.fillStyle = c.flagText; k.font = font(700, 10); k.textAlign = "center"; k.textBaseline = "alphabetic";
        k.fillText(m.n, x, 13.5 * dpr);
      }
      const ticks = still.querySelectorAll("text[y='235']");
      const narrow = u.width < 560;
      ticks.forEach((t, i) => {
        if (narrow && i % 2) return;
        text(u, t.textContent, left + width * parseFloat(t.getAttribute("x")) / 100, 235 * dpr, { start: "left", end: "right", middle: "center" }[t.getAttribute("text-anchor")]);
      });
      still.querySelectorAll("text.on").forEach((t) => text(u, t.textContent, left + width, parseFloat(t.getAttribute("y")) * dpr, "right", 600));
      k.restore();
    }

    const when = figure.querySelector("[data-when]");
    const values = figure.querySelectorAll("[data-value]");
    const rest = [when.textContent, ...[...values].map((v) => v.textContent)];
    const unit = data.unit && !data.daily ? " " + data.unit : "";
    const plot = new uPlot({
      width: figure.clientWidth || 600, height: HEIGHT, padding: [TOP, 0, BOTTOM, 0], legend: { show: false },
      axes: [{ show: false }, { show: false }],
      scales: { x: { time: true, range: () => [data.from, data.to] }, y: { range: () => [0, data.top] } },
      cursor: { sync: { key: "page" }, drag: { x: true, y: false, setScale: false }, points: { size: 9 } },
      series: [{}, ...data.lines.map((l, i) => ({
        label: l.name, stroke: c.lines[i], width: 1.75, dash: i === 1 ? [6, 3] : i === 2 ? [2, 3] : undefined, points: { show: data.x.length < 3 }, spanGaps: false,
      }))],
      hooks: {
        drawClear: [under],
        draw: [over],
        setCursor: [(u) => {
          const i = u.cursor.idx;
          if (i == null || u.cursor.left < 0) {
            when.textContent = rest[0];
            values.forEach((v, k) => { v.textContent = rest[k + 1]; });
            return;
          }
          when.textContent = stamp(u.data[0][i], data.daily);
          values.forEach((v, k) => { const y = u.data[k + 1][i]; v.textContent = number(y) + (y == null ? "" : unit); });
        }],
        setSelect: [(u) => {
          if (u.select.width < 6) return;
          const at = (x) => new Date(u.posToVal(x, "x") * 1000).toISOString().slice(0, 19) + "Z";
          const url = new URL(location.href);
          url.searchParams.set("from", at(u.select.left));
          url.searchParams.set("to", at(u.select.left + u.select.width));
          url.searchParams.delete("range");
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          fettle.visit(url.href);
        }],
      },
    }, [data.x, ...data.lines.map((l) => l.values)], box);
    live.set(figure, { plot, raw });
  }

  function drawAll(anew) {
    for (const [figure, l] of live) {
      if (anew || !figure.isConnected) { l.plot.destroy(); live.delete(figure); }
    }
    document.querySelectorAll("figure[data-chart]").forEach(draw);
  }
  drawAll();
  fettle.onRefresh.push(() => drawAll());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(true));
  let resize = 0;
  addEventListener("resize", () => { clearTimeout(resize); resize = setTimeout(() => drawAll(true), 120); });
})();
