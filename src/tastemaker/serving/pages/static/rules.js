// The rules: what is published, what is on trial, and the step from one to the other.

import { heading, notice, row } from "./cards.js";
import { h, icon, own, say } from "./dom.js";
import * as format from "./format.js";
import { RULES } from "./lists.js";
import { keyForm } from "./keys.js";
import { link } from "./routes.js";
import * as store from "./store.js";

const SHOWN = 60;

export async function rules({ signal }) {
  await store.readRules();
  const { published } = store.state;
  const pins = store.pins(), bans = store.bans();
  const [pinned, banned] = await Promise.all([store.lookUp(pins.slice(0, SHOWN), signal), store.lookUp(bans.slice(-SHOWN), signal)]);
  const others = otherRules(published.rules);
  const removed = (published.removed ?? []).filter((one) => one.removed);
  return {
    title: "Rules",
    nodes: [
      h("div", { class: "heading" }, h("h1", { tabindex: -1 }, "Rules")),
      h(
        "p",
        { class: "basis" },
        `They hold for every list of ${store.state.model}. Published: ${format.count(published.allowed)} of ${format.count(published.candidates)} products may be listed`,
        removed.length ? ` (left out: ${removed.map((one) => `${format.count(one.removed)} ${RULES(one.rule)}`).join(", ")}).` : ".",
        published.unknown?.length ? [" They name products that the model does not know: ", own(format.short(published.unknown.map(String).join(", "), 200)), "."] : null,
      ),
      published.problem ? h("ul", { class: "warnings" }, h("li", {}, "The rules file cannot be read, and the former rules are in force: ", own(format.short(published.problem, 400)))) : null,
      h(
        "div",
        { class: "two even" },
        h(
          "section",
          { "aria-labelledby": "pins" },
          h("h2", { id: "pins" }, "Pinned ", h("small", {}, format.count(pins.length))),
          pinned.length
            ? h("ol", { class: "rows" }, ...pinned.map((one, place) => row(one, { rank: place + 1, note: state(one, "pinned"), end: pinButtons(one, place, pins.length) })))
            : notice("Nothing. The pin on any product puts it first in every list that may show it."),
          more(pins),
        ),
        h(
          "section",
          { "aria-labelledby": "bans" },
          h("h2", { id: "bans" }, "Banned ", h("small", {}, format.count(bans.length))),
          banned.length
            ? h("ul", { class: "rows" }, ...banned.map((one) => row(one, { note: state(one, "banned"), end: h("div", { class: "end" }, small("close", `Ban no more: ${brief(one)}`, `unban:${one.id}`, () => store.toggleBan(one.id))) })))
            : notice("Nothing. A banned product is in no list."),
          more(bans),
        ),
      ),
      others.length ? h("section", {}, heading(2, "Other rules of the file"), h("ul", { class: "plain" }, ...others.map((one) => h("li", {}, own(one))))) : null,
    ],
  };
}

const more = (all) => (all.length > SHOWN ? h("p", { class: "basis" }, `And ${format.count(all.length - SHOWN)} more.`) : null);
const brief = (product) => format.short(store.nameOf(product), 120);

function state(product, what) {
  const { pinned, banned } = store.changes();
  const fresh = (what === "pinned" ? pinned : banned).some((one) => String(one) === String(product.id));
  return h(
    "p",
    { class: "facts" },
    product.unknown ? "The model does not know it. " : null,
    fresh ? h("span", { class: "badge live" }, "on trial") : null,
  );
}

function small(drawn, text, focus, act) {
  return h("button", { type: "button", class: "act", title: text, "data-focus": focus, on: { click: act } }, icon(drawn), h("span", { class: "hidden" }, text));
}

function pinButtons(product, place, of) {
  const move = (by) => () => {
    const moved = [...store.pins()];
    moved.splice(place + by, 0, ...moved.splice(place, 1));
    store.setTrial(moved, store.bans());
  };
  return h(
    "div",
    { class: "end" },
    place > 0 ? small("up", `Higher: ${brief(product)}`, `higher:${product.id}`, move(-1)) : null,
    place < of - 1 ? small("down", `Lower: ${brief(product)}`, `lower:${product.id}`, move(1)) : null,
    small("close", `Pin no more: ${brief(product)}`, `unpin:${product.id}`, () => store.togglePin(product.id)),
  );
}

function otherRules(rules) {
  const said = [];
  if (rules.allow) said.push(`Only ${format.many(rules.allow.length, "product")} by id.`);
  if (rules.minimum_price !== undefined) said.push(`Nothing cheaper than ${format.price(rules.minimum_price)}.`);
  for (const [column, wanted] of Object.entries(rules.where ?? {})) said.push(`${column}: ${condition(wanted)}.`);
  for (const [column, most] of Object.entries(rules.at_most ?? {})) said.push(`At most ${most} of one ${column} in a list.`);
  if (rules.include_purchased !== undefined) said.push(rules.include_purchased ? "What was bought may be listed again." : "What was bought is not listed again.");
  return said;
}

function condition(wanted) {
  if (wanted === null || typeof wanted !== "object") return String(wanted);
  const among = Array.isArray(wanted) ? wanted : wanted.in;
  if (among) return format.short(among.map(String).join(" or "), 300);
  return [wanted.min === undefined ? null : `at least ${wanted.min}`, wanted.max === undefined ? null : `at most ${wanted.max}`].filter(Boolean).join(", ");
}

/** The bar at the foot of the page while rules are on trial. */
export function trialBar(place, refresh) {
  const said = changesSaid();
  place.hidden = !store.state.trial;
  if (!store.state.trial) return place.replaceChildren();
  return place.replaceChildren(
    h("p", {}, h("b", {}, "On trial: "), `${said.join(", ")}. Only you see it.`),
    h(
      "div",
      { class: "ways" },
      h("a", { class: "button quiet", href: link("compare") }, "Before and after"),
      h("button", { type: "button", class: "button quiet", on: { click: () => { store.endTrial(); say("The trial is over; the published rules hold."); } } }, "Discard"),
      h("button", { type: "button", class: "button", id: "publish", on: { click: () => publishing(refresh) } }, "Publish…"),
    ),
  );
}

function changesSaid() {
  const { pinned, unpinned, banned, unbanned, moved } = store.changes();
  const said = [];
  if (pinned.length) said.push(`${pinned.length} pinned`);
  if (unpinned.length) said.push(`${unpinned.length} unpinned`);
  if (banned.length) said.push(`${banned.length} banned`);
  if (unbanned.length) said.push(`${unbanned.length} banned no more`);
  if (moved) said.push("pins in another order");
  return said;
}

/** Ask once more, then write the rules of the model; ask for a key where the server wants one. */
function publishing(refresh) {
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "publishing" });
  const close = () => { dialog.close(); dialog.remove(); document.getElementById("publish")?.focus(); };
  dialog.addEventListener("cancel", close);
  const show = (...content) => dialog.replaceChildren(h("h2", { id: "publishing" }, "Publish the rules"), ...content);
  const problem = h("p", { class: "wrong", role: "alert" });

  async function write() {
    problem.textContent = "";
    try {
      await store.publish();
      close();
      say("The rules are published.");
      refresh();
    } catch (trouble) {
      if (trouble.status === 401 || trouble.status === 403) return key(trouble);
      if (trouble.status === 412) await store.readRules();
      problem.textContent = trouble.status === 412 ? "Somebody else changed the rules meanwhile. They were read again: look at them, then publish." : `${trouble.title}. ${format.short(trouble.message, 300)}`;
    }
    return undefined;
  }

  function ready() {
    show(
      h("p", {}, `${changesSaid().join(", ")}. Every list of ${store.state.model} will follow within a second.`),
      problem,
      h("div", { class: "ways" }, h("button", { type: "button", class: "button quiet", on: { click: close } }, "Not yet"), h("button", { type: "button", class: "button", autofocus: true, on: { click: write } }, "Publish")),
    );
  }

  function key(trouble) {
    if (!store.state.keys) return closed();
    show(keyForm("Publishing needs an admin key.", async () => {
      if (!store.mayPublish()) throw Object.assign(new Error("This is a key for reading; publishing needs one of the role admin."), { title: "Not this key" });
      ready();
    }, trouble?.status === 403 && store.mayPublish() ? trouble.message : ""), h("div", { class: "ways" }, h("button", { type: "button", class: "button quiet", on: { click: close } }, "Not now")));
    return undefined;
  }

  /** No keys at all: nobody may change anything here, but the file can be written by hand. */
  function closed() {
    const text = `${JSON.stringify(store.wanted(), null, 1)}\n`;
    const copied = h("span", { role: "status" });
    show(
      h("p", {}, "This server has no keys, so it takes no changes. Your trial goes on working. To publish from here, start it with keys:"),
      h("pre", { tabindex: 0, "aria-label": "Commands" }, "tastemaker key new --keys keys.json --role admin\ntastemaker serve MODELS --keys keys.json"),
      h("p", {}, "Or save this as ", h("code", {}, "rules.json"), " in the model's folder, beside its versions; it is in force within a second:"),
      h("pre", { tabindex: 0, "aria-label": "rules.json" }, text),
      h(
        "div",
        { class: "ways" },
        copied,
        h("button", { type: "button", class: "button quiet", on: { click: async () => { await navigator.clipboard?.writeText(text); copied.textContent = "Copied."; } } }, "Copy"),
        h("button", { type: "button", class: "button", autofocus: true, on: { click: close } }, "Close"),
      ),
    );
  }

  if (store.mayPublish()) ready();
  else key();
  document.body.append(dialog);
  dialog.showModal();
}
