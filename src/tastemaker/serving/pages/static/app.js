// The page: reads the address, shows its view, and keeps the frame around it up to date.

import * as api from "./api.js";
import { trouble } from "./cards.js";
import { browse } from "./browse.js";
import { compare } from "./compare.js";
import { announce, h, hidden } from "./dom.js";
import { experiment } from "./experiment.js";
import { keyForm } from "./keys.js";
import { metrics } from "./metrics.js";
import { basketPanel } from "./panel.js";
import { go, link, route } from "./routes.js";
import { rules, trialBar } from "./rules.js";
import { searchBox } from "./search.js";
import * as store from "./store.js";
import * as views from "./views.js";
import { visitor } from "./visitor.js";

const VIEWS = new Map(Object.entries({
  "": views.start,
  search: browse,
  product: views.product,
  customer: views.customer,
  basket: views.basket,
  visitor,
  compare,
  rules,
  experiment,
  metrics,
})); // a Map has the views alone, and nothing of Object.prototype
const LINKS = [["", "Products"], ["customer", "Customers"], ["basket", "Basket"], ["compare", "Compare"], ["rules", "Rules"], ["experiment", "Experiment"]];
const PATIENCE = 180; // milliseconds until a view that is not there yet shows its skeleton

const main = document.getElementById("main");
const page = {
  views: document.getElementById("views"),
  served: document.getElementById("served"),
  basket: document.getElementById("basket"),
  trial: document.getElementById("trial"),
};
const scrolls = new Map();
let shown = "";
let asking;
let focusSearch = () => {};

/** Show what the address says. `quiet`: the same view again, with the focus and the place where they are. */
async function show({ quiet = false } = {}) {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const address = location.hash || "#/";
  const { view, id, asked } = route();
  if (shown && shown !== address) scrolls.set(shown, scrollY);
  const held = document.activeElement !== document.body;
  const skeleton = quiet ? 0 : setTimeout(() => waiting(), PATIENCE);
  try {
    if (!store.state.models.length) await store.open();
    await store.choose(asked.get("model"), asked.get("version"));
    if (asked.has("trial")) return openTrial(asked);
    frame();
    const made = await (VIEWS.get(view) ?? nowhere)({ id, asked, signal });
    if (signal.aborted || !made) return;
    put(made, address, quiet, held);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    frame();
    if (error.status === 401) {
      if (await api.inheritKey()) return show({ quiet });
      askForKey();
    }
    else put({ title: error.title ?? "Mistake", nodes: [trouble(error, () => show())] }, address, false);
  } finally {
    clearTimeout(skeleton);
  }
}

function put({ title, nodes }, address, quiet, held = false) {
  const focus = quiet ? document.activeElement?.dataset?.focus : undefined;
  const place = quiet ? scrollY : history.state?.seen ? scrolls.get(address) ?? 0 : 0; // an entry that was seen is returned to
  const opened = quiet ? [...main.querySelectorAll("details[open] > summary")].map((one) => one.dataset.focus) : [];
  main.removeAttribute("aria-busy");
  main.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
  for (const summary of main.querySelectorAll("summary")) if (opened.includes(summary.dataset.focus)) summary.parentElement.open = true;
  document.title = title === "Start" ? "tastemaker" : `${title} · tastemaker`;
  if (focus) main.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  if (quiet ? held && document.activeElement === document.body : shown) main.querySelector("h1")?.focus({ preventScroll: true });
  scrollTo({ top: place, behavior: "instant" });
  shown = address;
  main.dataset.address = address;
  history.replaceState({ seen: true }, "");
}

/** Take the rules on trial out of an address, and show it without them. */
function openTrial(asked) {
  const rest = new URLSearchParams(asked);
  rest.delete("trial");
  go(`${(location.hash || "#/").split("?")[0]}${rest.size ? `?${rest}` : ""}`, { replace: true, quiet: true });
  store.takeTrial(asked.get("trial"));
  announce("The link brought rules on trial. Only you see them.");
  return show();
}

function waiting() {
  main.setAttribute("aria-busy", "true");
  main.replaceChildren(
    h("p", { class: "hidden" }, "Loading."),
    h("div", { class: "bone title" }),
    h("div", { class: "grid" }, ...Array.from({ length: 12 }, () => h("div", { class: "card bone" }, h("div", { class: "face" }), h("div", { class: "words" })))),
  );
}

async function nowhere() {
  throw new api.Trouble(404, "There is no such view", "The address names none that this page has.");
}

function askForKey() {
  main.removeAttribute("aria-busy");
  document.title = "Key · tastemaker";
  main.replaceChildren(h("section", { class: "trouble" }, h("h1", { tabindex: -1 }, "This server needs a key"), keyForm("Ask whoever runs it for one.", () => show())));
  main.querySelector("input").focus();
}

/** Everything around the view. */
function frame() {
  const { view } = route();
  const pieces = store.state.basket.length;
  page.views.replaceChildren(
    ...LINKS.map(([name, text]) =>
      h(
        "a",
        { href: name === "basket" && pieces ? link("basket", undefined, { p: store.state.basket }) : link(name), "aria-current": inView(view, name) ? "page" : undefined },
        text,
        name === "basket" && pieces ? h("span", { class: "count" }, pieces, hidden(" in it")) : null,
        name === "rules" && store.state.trial ? h("span", { class: "count unsaid" }, h("span", { "aria-hidden": "true" }, "•"), hidden(" on trial")) : null,
      )),
  );
  servedSelect();
  trialBar(page.trial, () => show({ quiet: true }));
  basketPanel(page.basket);
}

const inView = (view, name) => view === name || (name === "" && (view === "product" || view === "search"));

function servedSelect() {
  if (page.served.contains(document.activeElement)) document.activeElement.blur();
  if (!store.state.models.length) return page.served.replaceChildren();
  const several = store.state.models.length > 1;
  const options = (model) => model.versions.map((one) => one.version).reverse().map((version) =>
    h(
      "option",
      { value: JSON.stringify([model.name, version]), selected: model.name === store.state.model && version === store.version() },
      `${model.name} ${version}${version === model.default ? "" : " (not the default)"}`,
    ));
  const change = (event) => {
    const [model, version] = JSON.parse(event.target.value);
    const { view, id, asked } = route();
    const values = Object.fromEntries([...new Set(asked.keys())].map((name) => [name, asked.getAll(name)]));
    const moved = model !== store.state.model;
    const current = store.state.models.find((one) => one.name === model)?.default;
    const wanted = { model: several ? model : undefined, version: version === current ? undefined : version };
    go(moved ? link("", undefined, wanted) : link(view, id, { ...values, ...wanted })); // another model has other ids
  };
  const choices = several
    ? store.state.models.map((model) => h("optgroup", { label: model.name }, ...options(model)))
    : options(store.state.models[0]);
  return page.served.replaceChildren(h("label", {}, hidden("Model and version"), h("select", { on: { change } }, ...choices)));
}

function heard(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("input, select, textarea, dialog")) return;
  const acts = { "/": () => focusSearch(), b: () => go(link("basket")), r: () => go(link("customer")) };
  if (!Object.hasOwn(acts, event.key)) return;
  event.preventDefault();
  acts[event.key]();
}

new ResizeObserver(([docks]) => document.documentElement.style.setProperty("--docks", `${Math.round(docks.contentRect.height)}px`)).observe(document.getElementById("docks"));
history.scrollRestoration = "manual";
addEventListener("hashchange", () => show());
addEventListener("keydown", heard);
store.onChange(() => {
  if (route().view === "basket") history.replaceState(history.state, "", link("basket", undefined, { p: store.state.basket }));
  show({ quiet: true });
});
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); }); // the address is the view's
focusSearch = searchBox(document.getElementById("search"));
show();
