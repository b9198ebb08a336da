// Elements are made here and nowhere else. Children are nodes or text: nothing is ever parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. `props`: `class`, `vars` (CSS custom properties), `on` (listeners), anything else is an attribute. */
export function h(tag, props = {}, ...children) {
  return dress(document.createElement(tag), props, children);
}

/** Make an SVG element. */
export function s(tag, props = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), props, children);
}

function dress(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, heard] of Object.entries(value)) element.addEventListener(event, heard);
    else if (name === "vars") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, String(one));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Tell a screen reader, without moving the focus. */
export function say(text) {
  const said = document.getElementById("said");
  said.textContent = "";
  requestAnimationFrame(() => { said.textContent = text; });
}

/** Tell everybody: a line that is seen for some seconds, and read by a screen reader. */
export function announce(text) {
  const place = document.getElementById("toast");
  place.textContent = "";
  place.hidden = false;
  requestAnimationFrame(() => { place.textContent = text; });
  clearTimeout(announced);
  announced = setTimeout(() => { place.hidden = true; place.textContent = ""; }, SEEN);
}

const SEEN = 8000;
let announced;

/** Text of the shop: its direction is its own, and ends with it. */
export function own(text, props = {}) {
  return h("bdi", { dir: "auto", ...props }, text);
}

const PATHS = {
  add: "M5 8h14l-1.2 11H6.2L5 8Zm4 0a3 3 0 0 1 6 0M12 11v5m-2.5-2.5h5",
  added: "M5 8h14l-1.2 11H6.2L5 8Zm4 0a3 3 0 0 1 6 0M9.5 13.5l2 2 3.5-4",
  pin: "M9 4h6l-1 6 3 3H7l3-3-1-6Zm3 9v7",
  ban: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16ZM6.5 6.5l11 11",
  search: "M10.5 4.5a6 6 0 1 0 0 12 6 6 0 0 0 0-12Zm4.5 10.5 5 5",
  dice: "M5 5h14v14H5zM9 9h.01M15 15h.01M15 9h.01M9 15h.01M12 12h.01",
  plus: "M12 5v14M5 12h14",
  undo: "M9 14 4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
  again: "M4 12a8 8 0 0 1 14-5l2 2m0-5v5h-5M20 12a8 8 0 0 1-14 5l-2-2m0 5v-5h5",
  file: "M12 4v11m-4-4 4 4 4-4M5 20h14",
  close: "M6 6l12 12M18 6 6 18",
  up: "M12 19V5m-5 5 5-5 5 5",
  down: "M12 5v14m-5-5 5 5 5-5",
  person: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM4.5 20c1-4 4-6 7.5-6s6.5 2 7.5 6",
  compare: "M5 8h13m-4-4 4 4-4 4M19 16H6m4-4-4 4 4 4",
};

/** A drawn sign; its meaning stands in text beside it. */
export function icon(name) {
  return s("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, s("path", { d: PATHS[name] }));
}

/** Text for screen readers only. */
export function hidden(text) {
  return h("span", { class: "hidden" }, text);
}
