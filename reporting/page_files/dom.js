"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; text becomes text, never HTML. */
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

function section(id) { return document.getElementById(id); }

/** Milliseconds as a person says them. */
function hours(ms) {
  const s = ms / 1000;
  if (Math.abs(s) < 120) return `${round(s, 1)} s`;
  return Math.abs(s) < 7200 ? `${round(s / 60, 1)} min` : `${round(s / 3600, 1)} h`;
}

function round(value, decimals) {
  return value.toLocaleString("en-US", { maximumFractionDigits: decimals });
}

function number(value) {
  if (value === null || value === undefined) return "—";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? value.toLocaleString("en-US") : value.toLocaleString("en-US", { maximumSignificantDigits: 4 });
}

function share(part, whole) { return whole ? `${round((100 * part) / whole, 1)} %` : "—"; }

/** A tile with one figure. */
function tile(figure, what) { return make("div", { class: "tile" }, make("b", {}, figure), what); }

// One tooltip for everything that has data-tip, by pointer or by keyboard.
const tip = document.getElementById("tip");
function showTip(target, x, y) {
  tip.textContent = target.dataset.tip;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - box.width - 4))}px`;
  tip.style.top = `${y + box.height + 18 > innerHeight ? y - box.height - 8 : y + 14}px`;
}
document.addEventListener("pointermove", (event) => {
  const target = event.target.closest && event.target.closest("[data-tip]");
  if (target) showTip(target, event.clientX, event.clientY);
  else tip.hidden = true;
});
document.addEventListener("focusin", (event) => {
  const target = event.target.closest("[data-tip]");
  if (!target) { tip.hidden = true; return; }
  const box = target.getBoundingClientRect();
  showTip(target, box.left, box.bottom);
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

/** Attributes of something that acts when it is clicked, or chosen by keyboard. */
function action(act) {
  return {
    class: "pick", tabindex: 0, role: "button", onclick: act,
    onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); } },
  };
}

/**
 * A table that sorts by any column. Columns are {name, title, show, text, number}: `show` makes a cell's content of a row.
 * `rows` may be replaced by `table.update(rows)`.
 */
function makeTable(caption, columns, rows, limit = 300) {
  const body = make("tbody");
  let shown = rows, by = null, down = true;
  const heads = columns.map((column) => make("th", { class: column.number ? "number" : null, scope: "col" },
    make("button", { type: "button", onclick: () => { down = by === column ? !down : Boolean(column.number); by = column; paint(); } },
      column.title)));
  const note = make("p", { class: "soft" });
  function paint() {
    const key = (row) => (row[by.name] === null || row[by.name] === undefined ? null : row[by.name]);
    const order = by ? [...shown].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    }) : shown;
    heads.forEach((head, i) => {
      if (columns[i] === by) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    body.replaceChildren(...order.slice(0, limit).map((row) => make("tr", {}, columns.map((column) => make("td",
      { class: column.number ? "number" : column.kind || null }, column.show ? column.show(row) : number(row[column.name]))))));
    note.textContent = order.length > limit ? `The first ${limit} of ${number(order.length)}.` : "";
  }
  paint();
  const box = make("div", {}, make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    make("table", {}, make("thead", {}, make("tr", {}, heads)), body)), note);
  box.update = (more) => { shown = more; paint(); };
  return box;
}

/** A titled block. */
function block(title, ...children) { return make("div", {}, make("h3", {}, title), children); }

const plain = (name, title) => ({ name, title });
const count = (name, title) => ({ name, title, number: true });
const time = (name, title) => ({ name, title, number: true, show: (row) => hours(row[name] || 0) });
const key = (name, title) => ({ name, title, kind: "key" });
const words = (name, title) => ({ name, title, kind: "text" });

// Sound: one player for the page; a clip's MP3 is in the data.
const player = new Audio();
let playing = null;
function stopped() {
  if (playing) { playing.textContent = "▶"; playing.setAttribute("aria-pressed", "false"); }
  playing = null;
}
player.addEventListener("ended", stopped);
function playButton(name) {
  if (!(name in data.sounds)) return null;
  const button = make("button", { type: "button", class: "play", "aria-pressed": "false", "aria-label": `Play ${name}`, onclick: () => {
    const same = playing === button;
    player.pause();
    stopped();
    if (same) return;
    player.src = `data:audio/mpeg;base64,${data.sounds[name]}`;
    playing = button;
    button.textContent = "■";
    button.setAttribute("aria-pressed", "true");
    player.play().catch(() => stopped());
  } }, "▶");
  return button;
}

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
