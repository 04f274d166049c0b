/* Charts in the browser: numbers, tooltips, zoom, runs that are hidden or stand out, and pictures. */
window.curves = (() => {
  const FADED = 0.12;
  const hidden = new Set();
  const number = (v) => (v === 0 || Math.abs(v) >= 1e-3 ? String(Number(v.toPrecision(4))) : v.toExponential(1));
  const percent = (v) => `${Number((100 * v).toPrecision(3))}%`;
  const count = (v) => Number(v.toPrecision(6)).toLocaleString("en-US");
  const safe = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const runOf = (series) => series.id.split(" ", 1)[0];
  const shown = () =>
    [...document.querySelectorAll(".plot")].map((plot) => getElement(Number(plot.id.slice(1)))).filter((one) => one?.chart);

  /* 4.5 s, 3 min 20 s, 2 h 5 min */
  function time(seconds) {
    if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
    const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
    if (minutes < 60) return `${minutes} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
    return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
  }

  /* A tooltip with the point of each run that is nearest to the pointer, wherever the run has points. */
  function tip(plot, write, place) {
    const rate = write === "percent" ? (v) => `${(100 * v).toFixed(1)}%` : number;
    return (all) => {
      const at = all[0].axisValue;
      const { series } = getElement(plot).options;
      const lines = series.filter((one) => !one.silent && !hidden.has(runOf(one)));
      const heads = [...new Set(lines.map((one) => one.line))];
      const value = ([, y, low, high]) =>
        `<b>${rate(y)}</b>${low === undefined || low === high ? "" : ` <small>${rate(low)} to ${rate(high)}</small>`}`;
      const rows = [...new Set(lines.map(runOf))].map((run) => {
        const here = lines.filter((one) => runOf(one) === run), points = here.map((one) => nearest(one.data, at));
        const some = points.find(Boolean);
        if (!some) return "";
        const cells = heads.map((head) => points[here.findIndex((one) => one.line === head)]);
        const name = `<span class="dot" style="--color: ${here[0].color}">${safe(here[0].name)}</span>`;
        const elsewhere = place(some[0]) === place(at) ? "" : `<small>at ${place(some[0])}</small>`;
        return `<tr><td>${name}</td>${cells.map((one) => `<td>${one ? value(one) : ""}</td>`).join("")}<td>${elsewhere}</td></tr>`;
      });
      const head = heads.length > 1 ? `<tr><td></td>${heads.map((one) => `<td><small>${safe(one)}</small></td>`).join("")}</tr>` : "";
      return `<div class="quiet">${place(at)}</div><table>${head}${rows.join("")}</table>`;
    };
  }

  function nearest(points, at) {
    let found = null;
    for (const point of points)
      if (point[1] !== null && (!found || Math.abs(point[0] - at) < Math.abs(found[0] - at))) found = point;
    return found;
  }

  /* Make charts zoomable, and hide what is hidden; again whenever they were redrawn. */
  function arm(tries = 40) {
    const plots = document.querySelectorAll(".plot").length, ready = shown();
    if (ready.length < plots && tries) setTimeout(() => arm(tries - 1), 50);
    for (const { chart, $el } of ready) {
      if (!chart.armed) {
        chart.armed = true;
        chart.on("datazoom", ({ start, end }) => $el.closest(".chart").classList.toggle("zoomed", start !== 0 || end !== 100));
        chart.getZr().on("dblclick", () => reset(chart));
      }
      if (matchMedia("(pointer: fine)").matches)
        chart.dispatchAction({ type: "takeGlobalCursor", key: "dataZoomSelect", dataZoomSelectActive: true });
    }
    for (const run of hidden) show(run, false);
  }

  const reset = (chart) => chart.dispatchAction({ type: "dataZoom", start: 0, end: 100 });

  function show(run, on) {
    on ? hidden.delete(run) : hidden.add(run);
    for (const { chart, options } of shown())
      for (const name of new Set(options.series.filter((one) => runOf(one) === run).map((one) => one.name)))
        chart.dispatchAction({ type: on ? "legendSelect" : "legendUnSelect", name });
  }

  /* Let one run stand out in the charts in view; null ends it. */
  function standOut(run) {
    const fade = (style, faint) => style && { ...style, opacity: (style.opacity ?? 1) * (faint ? FADED : 1) };
    for (const { chart, options, $el } of shown()) {
      const box = $el.getBoundingClientRect();
      if (box.bottom < 0 || box.top > innerHeight) continue;
      const series = options.series.map((one) => {
        const faint = run !== null && runOf(one) !== run;
        return { id: one.id, itemStyle: fade({}, faint), lineStyle: fade(one.lineStyle, faint), ...(one.areaStyle && { areaStyle: fade(one.areaStyle, faint) }) };
      });
      chart.setOption({ series });
    }
  }

  /* A click on a key of the legend hides its run or shows it again. */
  function key(event) {
    const button = event.target.closest("button");
    if (!button) return;
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    show(button.dataset.run, on);
  }

  function point(event) {
    standOut(event.type === "mouseover" || event.type === "focusin" ? (event.target.closest("button")?.dataset.run ?? null) : null);
  }

  /* A click on a tool of a chart; the server makes the CSV. */
  function tool(event, ask) {
    const figure = event.target.closest(".chart"), what = event.target.closest("button")?.dataset.do;
    const chart = getElement(Number(figure.querySelector(".plot").id.slice(1))).chart;
    if (what === "csv") ask();
    if (what === "png") picture(figure, chart);
    if (what === "reset") reset(chart);
    if (what === "larger") figure.classList.toggle("large");
  }

  /* The chart with its title and the names of the runs, as a PNG. */
  async function picture(figure, chart) {
    const style = getComputedStyle(document.body), scale = 2, pad = 14;
    const color = (name) => style.getPropertyValue(name);
    const image = Object.assign(new Image(), { src: chart.getDataURL({ pixelRatio: scale, backgroundColor: color("--panel") }) });
    await image.decode();
    const keys = [...document.querySelectorAll(".legend button")].filter(({ dataset }) => !hidden.has(dataset.run));
    const lines = [...figure.querySelectorAll(".keys > *")].map((one) => one.textContent).join(" · ");
    const title = figure.getAttribute("aria-label"), top = pad + 24 + (lines ? 16 : 0) + 18 * keys.length;
    const canvas = document.createElement("canvas");
    canvas.width = image.width + 2 * pad * scale;
    canvas.height = image.height + (top + pad) * scale;
    const pen = canvas.getContext("2d");
    pen.fillStyle = color("--panel");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.scale(scale, scale);
    const write = (text, x, y, font, ink) => Object.assign(pen, { font: `${font} ${style.fontFamily}`, fillStyle: color(ink) }).fillText(text, x, y);
    write(title, pad, pad + 13, "600 14px", "--ink");
    if (lines) write(lines, pad, pad + 32, "12px", "--quiet");
    keys.forEach((one, place) => {
      const y = top - 18 * (keys.length - place) + 10;
      pen.fillStyle = getComputedStyle(one).getPropertyValue("--color");
      pen.fillRect(pad, y - 8, 9, 9);
      write(one.textContent, pad + 16, y, "12px", "--ink");
    });
    pen.drawImage(image, pad, top, image.width / scale, image.height / scale);
    Object.assign(document.createElement("a"), { href: canvas.toDataURL(), download: `${title}.png` }).click();
  }

  return { number, percent, count, time, tip, arm, key, point, tool };
})();
