"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
// Okabe and Ito's colours, by which the colour-blind tell lines apart; the last for light and dark.
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", null];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const MOST_BANDS = 12;
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const dark = () => root.dataset.theme === "dark";
const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const colour = (k) => COLOURS[k % COLOURS.length] || (dark() ? "#F0E442" : "#000000");
// Plotly takes some tags in texts for format.
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
let hiddenGroups = new Set();

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Themes
function paint(theme) {
  root.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  for (const swatch of document.querySelectorAll("[data-swatch]")) {
    const k = Number(swatch.dataset.swatch);
    swatch.style.borderTopColor = colour(k);
    swatch.style.borderTopStyle = k < COLOURS.length ? "solid" : "dashed";
  }
}
let picked = false;
byId("theme").addEventListener("click", () => { picked = true; paint(dark() ? "light" : "dark"); draw(); });
const prefers = matchMedia("(prefers-color-scheme: dark)");
prefers.addEventListener("change", () => { if (!picked) { paint(prefers.matches ? "dark" : "light"); draw(); } });

// Tables
function sortBy(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => {
    const cell = row.cells[column];
    return cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim();
  };
  const number = (text) => (text === "" || isNaN(text) ? null : Number(text));
  const rows = [...table.tBodies[0].rows].map((row) => [row, value(row), number(value(row))]);
  rows.sort(([, a, x], [, b, y]) => {
    if (x !== null && y !== null) return down ? y - x : x - y;
    if ((x === null) !== (y === null)) return x === null ? 1 : -1; // without a number: last
    const order = a.localeCompare(b, undefined, { numeric: true });
    return down ? -order : order;
  });
  table.tBodies[0].append(...rows.map(([row]) => row));
}
for (const table of document.querySelectorAll("table")) {
  [...(table.tHead.rows[0]?.cells || [])].forEach((cell, column) => {
    cell.querySelector("button")?.addEventListener("click", () => sortBy(table, column));
  });
}
for (const input of document.querySelectorAll("[data-filter]")) {
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of byId(input.dataset.filter).tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    if (input.dataset.filter === "table-scores") {
      const rows = [...byId("table-scores").tBodies[0].rows].filter((row) => row.hidden);
      hiddenGroups = new Set(rows.map((row) => Number(row.dataset.group)));
      draw();
      showSamples();
    }
  });
}

// Curves
const chosen = { axis: "images_seen" };
const keys = Object.keys(DATA.curves);
for (const key of keys) byId("curve").append(element("option", { value: key, textContent: key }));
byId("curve").addEventListener("change", draw);
byId("log").addEventListener("change", draw);
for (const button of document.querySelectorAll("[data-axis]")) {
  button.addEventListener("click", () => { chosen.axis = button.dataset.axis; draw(); });
}

function transparent(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

function traces(lines) {
  const drawn = [];
  const bands = lines.length <= MOST_BANDS;
  for (const line of bands ? lines : []) {
    if (!line.low) continue;
    const known = line.x.map((_, k) => k).filter((k) => line.low[k] !== null);
    const x = known.map((k) => line.x[k]);
    const common = { x, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: `g${line.group}` };
    drawn.push({ ...common, y: known.map((k) => line.low[k]) });
    drawn.push({ ...common, y: known.map((k) => line.high[k]), fill: "tonexty", fillcolor: transparent(colour(line.group), dark() ? 0.24 : 0.16) });
  }
  for (const line of lines) {
    const half = line.x.map((_, k) => (line.low && line.low[k] !== null ? ` ± ${((line.high[k] - line.low[k]) / 2).toPrecision(2)}` : ""));
    const name = plain(DATA.groups[line.group]);
    drawn.push({
      x: line.x, y: line.y, text: half, name, legendgroup: `g${line.group}`,
      mode: line.x.length <= 30 ? "lines+markers" : "lines", marker: { size: 5 },
      line: { color: colour(line.group), width: 2, dash: DASHES[Math.floor(line.group / COLOURS.length) % DASHES.length] },
      hovertemplate: `%{y:.5g}%{text}${bands ? "" : `<extra>${name}</extra>`}`,
    });
  }
  return drawn;
}

function draw() {
  const key = byId("curve").value;
  const found = DATA.curves[key];
  if (!found) {
    byId("plot").hidden = true;
    byId("curve-note").textContent = "No run has a history.";
    return;
  }
  const timed = document.querySelector("[data-axis=seconds]");
  timed.disabled = !found.seconds;
  timed.title = found.seconds ? "" : "these runs did not log their speed";
  if (!found[chosen.axis]) chosen.axis = "images_seen";
  for (const button of document.querySelectorAll("[data-axis]")) {
    button.setAttribute("aria-pressed", String(button.dataset.axis === chosen.axis));
  }
  const lines = found[chosen.axis].filter((line) => !hiddenGroups.has(line.group));
  const axis = { gridcolor: style("--grid"), linecolor: style("--line"), zerolinecolor: style("--line"), color: style("--soft"), automargin: true };
  const narrow = byId("plot").clientWidth < 600;
  Plotly.react("plot", traces(lines), {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: style("--ink") },
    margin: { l: 56, r: 12, t: 12, b: 44 },
    xaxis: { ...axis, title: { text: chosen.axis === "seconds" ? "training time in seconds" : "images seen" }, hoverformat: ",.5~r" },
    yaxis: { ...axis, title: { text: narrow ? "" : plain(key) }, type: byId("log").checked ? "log" : "linear" },
    showlegend: lines.length <= 20, legend: { orientation: "h", yanchor: "bottom", y: 1.01, x: 0 },
    hovermode: lines.length <= MOST_BANDS ? "x unified" : "closest",
    hoverlabel: { bgcolor: style("--raised"), bordercolor: style("--line"), font: { color: style("--ink") } },
  }, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] });
  const seeds = Math.max(1, ...lines.map((line) => line.n));
  byId("curve-note").textContent = (seeds > 1 ? `Means over up to ${seeds} seeds; bands are 95 % intervals (Student's t)` : "One run each")
    + (lines.length > MOST_BANDS ? `; bands are left out for more than ${MOST_BANDS} curves` : "")
    + ". Training time is without validation, sampling and checkpoints.";
}

// Samples
const steps = [...new Set(DATA.grids.flatMap((each) => each.frames.map((frame) => frame.step)))].sort((a, b) => a - b);
byId("step").max = Math.max(0, steps.length - 1);
byId("step").value = byId("step").max;
byId("slide").hidden = steps.length < 2;
const figures = DATA.grids.map((each) => {
  const picture = element("img", { alt: `Samples of ${DATA.groups[each.group]}`, decoding: "async" });
  const caption = element("span");
  const figure = element("figure", {}, picture, element("figcaption", {}, element("strong", { textContent: DATA.groups[each.group] }), caption));
  byId("samples").append(figure);
  return { each, figure, picture, caption };
});
if (!figures.length) byId("samples").textContent = "No run has grids of samples.";
function showSamples() {
  const step = steps[Number(byId("step").value)];
  byId("step-label").textContent = steps.length ? step.toLocaleString("en") : "";
  for (const { each, figure, picture, caption } of figures) {
    figure.hidden = hiddenGroups.has(each.group);
    const frame = each.frames.filter((one) => one.step <= step).pop() || each.frames[0];
    picture.src = frame.picture;
    const images = frame.images === null ? "" : `, ${frame.images.toLocaleString("en")} images`;
    caption.textContent = ` ${each.run}, step ${frame.step.toLocaleString("en")}${images}`;
  }
}
byId("step").addEventListener("input", showSamples);

// Settings
function showSettings() {
  const table = byId("table-settings");
  const only = byId("differing").checked, wanted = byId("setting").value.toLowerCase();
  const rows = DATA.settings.filter(([path, differs]) => (differs || !only) && path.toLowerCase().includes(wanted));
  table.tHead.replaceChildren(element("tr", {}, element("th", { textContent: "Setting" }), ...DATA.groups.map((name) => element("th", { textContent: name, className: "text" }))));
  table.tBodies[0].replaceChildren(...rows.map(([path, differs, usual, values]) =>
    element("tr", {}, element("th", {}, ...path.split(/(?<=[._])/).flatMap((part) => [part, element("wbr")])), ...values.map((value) =>
      element("td", { textContent: value === "" ? "–" : value, className: differs && value !== usual ? "text differs" : "text" })))));
  if (!rows.length) table.tBodies[0].append(element("tr", {}, element("td", { textContent: "nothing", colSpan: DATA.groups.length + 1 })));
}
byId("differing").addEventListener("change", showSettings);
byId("setting").addEventListener("input", showSettings);

paint(prefers.matches ? "dark" : "light");
showSamples();
showSettings();
draw();
