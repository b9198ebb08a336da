// The rules: what is published, what is on trial, what a trial would change, and what was published before.

import * as api from "./api.js";
import { heading, notice, row } from "./cards.js";
import { announce, h, icon, own, say } from "./dom.js";
import { editor } from "./editor.js";
import * as format from "./format.js";
import { keyForm } from "./keys.js";
import { RULES } from "./lists.js";
import { price, priceSaid } from "./price.js";
import { link, route } from "./routes.js";
import { condition, ruleSaid, stateOf } from "./sentences.js";
import * as store from "./store.js";

const SHOWN = 60;

export async function rules({ signal }) {
  const [, history] = await Promise.all([store.readRules(), api.published(store.state.model, signal)]);
  const { published } = store.state;
  const pins = store.pins(), bans = store.bans();
  const [catalogue, pinned, banned] = await Promise.all([
    store.parts(), store.lookUp(pins.slice(0, SHOWN), signal), store.lookUp(bans.slice(-SHOWN), signal),
  ]);
  const removed = (published.removed ?? []).filter((one) => one.removed);
  const make = (more) => editor({ catalogue, ...more });
  return {
    title: "Rules",
    nodes: [
      h(
        "div",
        { class: "heading" },
        h("h1", { tabindex: -1 }, "Rules"),
        h(
          "div",
          { class: "ways" },
          store.canUndo() ? h("button", { type: "button", class: "button quiet", "data-focus": "undo", on: { click: () => { store.undo(); say("Undone."); } } }, icon("undo"), "Undo") : null,
          h("button", { type: "button", class: "button", "data-focus": "make", on: { click: () => make({}) } }, icon("plus"), "New rule"),
        ),
      ),
      h(
        "p",
        { class: "basis" },
        `They hold for every list of ${store.state.model}. Published: ${format.count(published.allowed)} of ${format.count(published.candidates)} products may be listed`,
        removed.length ? ` (left out: ${removed.map((one) => `${format.count(one.removed)} ${RULES(one.rule)}`).join(", ")}).` : ".",
        published.unknown?.length ? [" They name products that the model does not know: ", own(format.short(published.unknown.map(String).join(", "), 200)), "."] : null,
      ),
      published.problem ? h("ul", { class: "warnings" }, h("li", {}, "The rules file cannot be read, and the former rules are in force: ", own(format.short(published.problem, 400)))) : null,
      store.state.trial ? price() : null,
      named(make),
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
      others(),
      past(history),
    ],
  };
}

const more = (all) => (all.length > SHOWN ? h("p", { class: "basis" }, `And ${format.count(all.length - SHOWN)} more.`) : null);
const brief = (product) => format.short(store.nameOf(product), 120);

/** The rules with a name, a time and a strength. */
function named(make) {
  const all = store.named();
  const fresh = store.changes().made;
  const change = (place, rule) => store.setNamed(rule ? all.map((one, other) => (other === place ? rule : one)) : all.filter((_, other) => other !== place));
  return h(
    "section",
    { "aria-labelledby": "named" },
    h("h2", { id: "named" }, "Rules ", h("small", {}, format.count(all.length))),
    all.length
      ? h("ol", { class: "ruled" }, ...all.map((rule, place) => {
        const name = format.short(rule.name || `Rule ${place + 1}`, 80);
        return h(
          "li",
          { class: rule.paused ? "paused" : undefined },
          h(
            "div",
            { class: "words" },
            h("p", { class: "name" }, own(name), " ", fresh.includes(rule) ? h("span", { class: "badge live" }, "on trial") : null, " ", fresh.includes(rule) && !stateOf(rule).kind ? null : h("span", { class: `badge ${stateOf(rule).kind}` }, stateOf(rule).said)),
            h("p", { class: "facts wide" }, own(ruleSaid(rule))),
          ),
          h(
            "div",
            { class: "end" },
            h("button", { type: "button", class: "button quiet", "data-focus": `edit:${place}`, on: { click: () => make({ rule, place }) } }, "Change", h("span", { class: "hidden" }, `: ${name}`)),
            h("button", { type: "button", class: "button quiet", "data-focus": `pause:${place}`, "aria-pressed": String(Boolean(rule.paused)), on: { click: () => change(place, { ...rule, paused: !rule.paused || undefined }) } }, rule.paused ? "Resume" : "Pause", h("span", { class: "hidden" }, `: ${name}`)),
            small("close", `Remove: ${name}`, `remove:${place}`, () => change(place)),
          ),
        );
      }))
      : notice("None. A rule pins, bans, boosts or buries products by any column of the catalogue, from a day to a day."),
  );
}

/** What the file says beside pins, bans and named rules; each can be taken out. */
function others() {
  const rules = store.wanted();
  const said = [];
  const without = (key, inner) => () => {
    const rest = { ...rules, [key]: inner === undefined ? undefined : { ...rules[key], [inner]: undefined } };
    if (inner !== undefined) delete rest[key][inner];
    store.setRules(rest);
  };
  if (rules.allow) said.push([`Only ${format.many(rules.allow.length, "product")} by id.`, without("allow")]);
  if (rules.minimum_price !== undefined) said.push([`Nothing cheaper than ${format.price(rules.minimum_price)}.`, without("minimum_price")]);
  for (const [column, wanted] of Object.entries(rules.where ?? {})) said.push([`${column}: ${condition(wanted)}.`, without("where", column)]);
  for (const [column, most] of Object.entries(rules.at_most ?? {})) said.push([`At most ${most} of one ${column} in a list.`, without("at_most", column)]);
  if (rules.include_purchased !== undefined) said.push([rules.include_purchased ? "What was bought may be listed again." : "What was bought is not listed again.", without("include_purchased")]);
  if (!said.length) return null;
  return h("section", {}, heading(2, "Other rules of the file"), h("ul", { class: "ruled" }, ...said.map(([one, act]) => h("li", {}, h("div", { class: "words" }, own(one)), h("div", { class: "end" }, small("close", `Take out: ${one}`, `without:${one}`, act))))));
}

/** Who published what and when; any of it can be put on trial again. */
function past(history) {
  if (!history.length) return null;
  const said = (one) => {
    const parts = [["pin", "pinned"], ["deny", "banned"], ["rules", "rules"]].filter(([key]) => one.rules[key]?.length).map(([key, word]) => `${format.count(one.rules[key].length)} ${word}`);
    const rest = ["allow", "where", "minimum_price", "at_most", "include_purchased"].filter((key) => one.rules[key] !== undefined);
    return [...parts, ...rest.map((key) => key.replace("_", " "))].join(", ") || "no rules";
  };
  return h(
    "section",
    { "aria-labelledby": "past" },
    h("h2", { id: "past" }, "Published before"),
    h("ol", { class: "ruled" }, ...history.map((one, place) => h(
      "li",
      {},
      h("div", { class: "words" }, h("p", { class: "name" }, format.day(one.time), place ? null : [" ", h("span", { class: "badge" }, "in force")]), h("p", { class: "facts wide" }, one.key ? ["by the key ", own(one.key)] : "by hand", `: ${said(one)}`)),
      place ? h("div", { class: "end" }, h("button", { type: "button", class: "button quiet", "data-focus": `back:${one.number}`, on: { click: () => { store.setRules(one.rules); announce("These rules are on trial. Publish them to put them back."); } } }, "Put back", h("span", { class: "hidden" }, ` the rules of ${format.day(one.time)}`))) : null,
    ))),
  );
}

function state(product, what) {
  const { pinned, banned } = store.changes();
  const fresh = (what === "pinned" ? pinned : banned).some((one) => String(one) === String(product.id));
  const idle = what === "pinned" && !fresh ? store.state.published.idle_pins.find((one) => String(one.product) === String(product.id)) : undefined;
  return h(
    "p",
    { class: "facts" },
    product.unknown ? h("span", { class: "wrong" }, "Without effect: the model does not know it. ") : null,
    idle?.rule ? h("span", { class: "wrong" }, `Without effect: left out, ${RULES(idle.rule)}. `) : null,
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
      h("a", { class: "button quiet", href: link("compare", undefined, subject()) }, "Before and after"),
      h("button", { type: "button", class: "button quiet", on: { click: share } }, "Copy link"),
      h("button", { type: "button", class: "button quiet", on: { click: () => { store.endTrial(); announce("The trial is over; the published rules hold."); } } }, "Discard"),
      h("button", { type: "button", class: "button", id: "publish", on: { click: () => publishing(refresh) } }, "Publish…"),
    ),
  );
}

/** What is compared before and after: what is shown now. */
function subject() {
  const { view, id, asked } = route();
  if (view === "customer" && id !== undefined) return { user: id };
  if (view === "product") return { product: id };
  if (view === "basket" && store.state.basket.length) return { p: store.state.basket };
  return view === "compare" ? Object.fromEntries([["user", asked.get("user")], ["product", asked.get("product")], ["p", asked.getAll("p")]]) : {};
}

async function share() {
  const [path, query] = (location.hash || "#/").split("?");
  const asked = new URLSearchParams(query);
  asked.set("trial", store.trialAsText());
  const address = `${location.origin}${location.pathname}${path}?${asked}`;
  try {
    await navigator.clipboard.writeText(address);
    announce("The link is copied. Whoever opens it sees this view with these rules on trial.");
  } catch {
    location.hash = `${path}?${asked}`; // no clipboard: the address itself holds all
  }
}

function changesSaid() {
  const { pinned, unpinned, banned, unbanned, moved, made, gone, others } = store.changes();
  const said = [];
  if (pinned.length) said.push(`${pinned.length} pinned`);
  if (unpinned.length) said.push(`${unpinned.length} unpinned`);
  if (banned.length) said.push(`${banned.length} banned`);
  if (unbanned.length) said.push(`${unbanned.length} banned no more`);
  if (moved) said.push("pins in another order");
  if (made.length) said.push(`${format.many(made.length, "rule")} new or changed`);
  if (gone.length > made.length) said.push(`${format.many(gone.length - made.length, "rule")} gone`);
  if (others.length) said.push("other rules changed");
  return said.length ? said : ["rules in another order"];
}

/** Say what it changes, ask once more, then write the rules of the model; ask for a key where the server wants one. */
function publishing(refresh) {
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "publishing" });
  const close = () => { dialog.close(); dialog.remove(); (document.getElementById("publish") ?? document.querySelector("main h1"))?.focus({ preventScroll: true }); };
  dialog.addEventListener("cancel", close);
  const show = (...content) => dialog.replaceChildren(h("h2", { id: "publishing" }, "Publish the rules"), ...content);
  const problem = h("p", { class: "wrong", role: "alert" });

  async function write() {
    problem.textContent = "";
    try {
      await store.publish();
      close();
      announce("The rules are published.");
      refresh();
    } catch (trouble) {
      if (trouble.status === 401 || trouble.status === 403) return key(trouble);
      problem.textContent = trouble.status === 412 ? await conflict() : `${trouble.title}. ${format.short(trouble.message, 300)}`;
    }
    return undefined;
  }

  async function conflict() {
    await store.readRules();
    const [last] = await api.published(store.state.model).catch(() => []);
    const who = last?.key ? ` (the key ${format.short(last.key, 40)}, ${format.day(last.time)})` : "";
    return `Somebody else changed the rules meanwhile${who}. Theirs were read, and yours are put on top of them: look at them, then publish.`;
  }

  function ready() {
    show(
      h("p", {}, `${changesSaid().join(", ")}. Every list of ${store.state.model} will follow within a second.`),
      priceSaid(),
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
      h("pre", { tabindex: 0, role: "region", "aria-label": "Commands" }, "tastemaker key new --keys keys.json --role admin\ntastemaker serve MODELS --keys keys.json"),
      h("p", {}, "Or save this as ", h("code", {}, "rules.json"), " in the model's folder, beside its versions; it is in force within a second:"),
      h("pre", { tabindex: 0, role: "region", "aria-label": "rules.json" }, text),
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
