// Charts: the server's drawing is replaced by a live one with the same
// geometry. Colours are read from the drawing, so themes stay in the stylesheet.
"use strict";

(() => {
  const TOP = 14, BOTTOM = 22;
  // How a line is drawn, by its class.
  const looks = {
    s1: { width: 1.75 }, s2: { width: 1.75, dash: [6, 3] }, s3: { width: 1.75, dash: [2, 3] },
    exp: { width: 1, dash: [2, 3] }, limit: { width: 1.25, dash: [5, 3] }, out: { width: 2.25 },
  };
  // drag is which chart the mouse went down on, and how: charts of one page
  // share the cursor, so all of them hear of the selection.
  const drag = { figure: null, shift: false };
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
      lines: Object.fromEntries(Object.keys(looks).map((k) => [k, of(`.${k}`, "stroke")])),
      limit: of(".limit", "stroke"), band: of(".band", "fill"), shade: of(".shade:not(.hot)", "fill"), hot: of(".shade.hot", "fill"), flag: of(".flag", "fill"), flagText: of(".flag-n", "fill"), marker: of(".marker", "stroke"),
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

    // band fills what was expected, wherever both of its edges are known.
    function band(u) {
      if (!data.low) return;
      const k = u.ctx;
      const at = (i, v) => [u.valToPos(data.x[i], "x", true), u.valToPos(v, "y", true)];
      k.fillStyle = c.band;
      for (let i = 0; i < data.x.length; i++) {
        const from = i;
        while (i < data.x.length && data.low[i] != null && data.high[i] != null) i++;
        if (i - from < 2) continue;
        k.beginPath();
        for (let n = from; n < i; n++) k.lineTo(...at(n, data.low[n]));
        for (let n = i - 1; n >= from; n--) k.lineTo(...at(n, data.high[n]));
        k.fill();
      }
    }
    const steps = function* () { for (let v = data.bottom; v <= data.top + data.step / 2; v += data.step) yield v; };
    const stretch = (u, s) => {
      const { left, width } = u.bbox;
      const a = Math.max(left, u.valToPos(s.from, "x", true));
      return [a, Math.min(left + width, u.valToPos(s.to, "x", true)) - a];
    };

    function under(u) {
      const { left, top, width, height } = u.bbox;
      const k = u.ctx;
      k.save();
      k.beginPath(); k.rect(left, top, width, height); k.clip();
      band(u);
      for (const s of data.shades) {
        const [a, w] = stretch(u, s);
        if (w < 0) continue;
        k.globalAlpha = s.hot ? 0.09 : 0.1;
        k.fillStyle = s.hot ? c.hot : c.shade;
        k.fillRect(a, top, Math.max(w, 2 * dpr), height);
        k.globalAlpha = 1;
      }
      k.restore();
      for (const v of steps()) {
        const y = u.valToPos(v, "y", true);
        line(u, left, y, left + width, y, c.grid, []);
      }
    }
    function over(u) {
      const { left, top, width, height } = u.bbox;
      const k = u.ctx;
      k.save();
      if (data.limit != null) {
        const y = u.valToPos(data.limit, "y", true);
        line(u, left, y, left + width, y, c.limit, [5, 3], 1.25);
      }
      for (const s of data.shades) {
        const [a, w] = stretch(u, s);
        k.font = font(400, 11);
        if (s.name && w > k.measureText(s.name).width + 12 * dpr) text(u, s.name, a + 6 * dpr, top + height - 6 * dpr, "left");
      }
      for (const v of steps()) {
        const unit = v + data.step > data.top + data.step / 2 && data.unit ? " " + data.unit : "";
        text(u, number(Math.abs(v) < data.step / 1e6 ? 0 : v) + unit, left, u.valToPos(v, "y", true) - 4 * dpr, "left");
      }
      for (const m of data.marks) {
        const x = u.valToPos(m.at, "x", true);
        if (x < left || x > left + width) continue;
        line(u, x, top + 4 * dpr, x, top + height, c.marker, [3, 2]);
        k.fillStyle = c.flag; k.beginPath(); k.arc(x, 10 * dpr, 8 * dpr, 0, 7); k.fill();
        k.fillStyle = c.flagText; k.font = font(700, 10); k.textAlign = "center"; k.textBaseline = "alphabetic";
        k.fillText(m.n, x, 13.5 * dpr);
      }
      const ticks = still.querySelectorAll("text.tick");
      const narrow = u.width < 560;
      ticks.forEach((t, i) => {
        if (narrow && i % 2) return;
        text(u, t.textContent, left + width * parseFloat(t.getAttribute("x")) / 100, (data.height - 5) * dpr, { start: "left", end: "right", middle: "center" }[t.getAttribute("text-anchor")]);
      });
      still.querySelectorAll("text.on").forEach((t) => text(u, t.textContent, left + width, parseFloat(t.getAttribute("y")) * dpr, "right", 600));
      k.restore();
    }

    const when = figure.querySelector("[data-when]");
    const values = figure.querySelectorAll("[data-value]");
    const edges = figure.querySelector("[data-band]");
    const shown = data.lines.map((l, i) => i).filter((i) => data.lines[i].class !== "out"); // as in the legend
    const rest = [when.textContent, ...[...values].map((v) => v.textContent)];
    const wide = edges?.textContent;
    const unit = data.unit && !data.daily ? " " + data.unit : "";
    const zoomed = (u, left, width) => {
      const at = (x) => new Date(u.posToVal(x, "x") * 1000).toISOString().slice(0, 19) + "Z";
      const url = new URL(location.href);
      url.searchParams.set("from", at(left));
      url.searchParams.set("to", at(left + width));
      for (const other of ["range", "anomaly"]) url.searchParams.delete(other);
      return url.href;
    };

    // pick sums up the span under the selection and offers to zoom to it.
    const picked = figure.querySelector("[data-picked]");
    function unpick() {
      picked.hidden = picked.dataset.picked !== "hint";
      picked.textContent = picked.hidden ? "" : "Drag to zoom. Hold Shift and drag to select a span.";
    }
    function pick(u) {
      const { left, width } = u.select;
      if (width < 6) { unpick(); return; }
      const from = u.posToVal(left, "x"), to = u.posToVal(left + width, "x");
      let n = 0, sum = 0, low = Infinity, high = -Infinity, outside = 0;
      data.x.forEach((t, i) => {
        const v = data.lines[shown[0]].values[i];
        if (t < from || t > to || v == null) return;
        n++; sum += v; low = Math.min(low, v); high = Math.max(high, v);
        if (data.low && (v < data.low[i] || v > data.high[i]) && data.low[i] != null) outside++;
      });
      const what = n === 0 ? "nothing was measured" :
        `${n} readings, ${number(low)} to ${number(high)}${unit}, mean ${number(sum / n)}${unit}` + (data.low ? `, ${outside} outside the band` : "");
      const link = document.createElement("a");
      link.href = zoomed(u, left, width);
      link.textContent = "Zoom to it";
      picked.hidden = false;
      picked.replaceChildren(`Selected ${stamp(from)} to ${stamp(to)}: ${what}. `, link);
    }
    if (picked) unpick();
    box.addEventListener("mousedown", (e) => { drag.figure = figure; drag.shift = e.shiftKey; }, true);

    const plot = new uPlot({
      width: figure.clientWidth || 600, height: data.height, padding: [TOP, 0, BOTTOM, 0], legend: { show: false },
      axes: [{ show: false }, { show: false }],
      scales: { x: { time: true, range: () => [data.from, data.to] }, y: { range: () => [data.bottom, data.top] } },
      cursor: { sync: { key: "page" }, drag: { x: true, y: false, setScale: false }, points: { size: 9 } },
      series: [{}, ...data.lines.map((l) => ({
        label: l.name, stroke: c.lines[l.class], ...looks[l.class], points: { show: l.class === "s1" && data.x.length < 3 }, spanGaps: false,
      }))],
      hooks: {
        drawClear: [under],
        draw: [over],
        setCursor: [(u) => {
          const i = u.cursor.idx;
          if (i == null || u.cursor.left < 0) {
            when.textContent = rest[0];
            values.forEach((v, k) => { v.textContent = rest[k + 1]; });
            if (edges) edges.textContent = wide;
            return;
          }
          when.textContent = stamp(u.data[0][i], data.daily);
          values.forEach((v, k) => { const y = u.data[shown[k] + 1][i]; v.textContent = number(y) + (y == null ? "" : unit); });
          if (edges) edges.textContent = data.low[i] == null ? "–" : `${number(data.low[i])} to ${number(data.high[i])}`;
        }],
        setSelect: [(u) => {
          const none = () => u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          if (drag.shift && picked) { pick(u); return; }
          if (drag.figure !== figure || u.select.width < 6) { none(); return; }
          const { left, width } = u.select;
          none();
          fettle.visit(zoomed(u, left, width));
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
