// What a trial would change if it were published: asked of the server, for a sample of all customers.

import * as api from "./api.js";
import { h, own } from "./dom.js";
import * as format from "./format.js";
import { RULES } from "./lists.js";
import * as store from "./store.js";

const CUSTOMERS = 300;
let known = {}; // the last answer, and what it is the answer to

async function ask() {
  const rules = store.trialRules();
  const asked = JSON.stringify([store.at(), store.state.published.mark, rules]);
  if (known.asked !== asked) known = { asked, answer: api.effect(store.at(), rules, CUSTOMERS) };
  return known.answer;
}

/** A section with the price of the trial. */
export function price() {
  return h("section", { class: "effect", "aria-labelledby": "price" }, h("h2", { id: "price" }, "What the trial would change"), priceSaid());
}

/** The same without a heading; it fills when the answer is there. */
export function priceSaid() {
  const place = h("div", { class: "figures", "aria-live": "polite", "aria-busy": "true" }, h("p", { class: "basis" }, "Asking some customers…"));
  ask().then(
    (found) => { place.replaceChildren(...figures(found)); place.removeAttribute("aria-busy"); },
    (trouble) => { known = {}; place.replaceChildren(h("p", { class: "wrong", role: "alert" }, own(`${trouble.title ?? "It cannot be told"}. ${format.short(trouble.message, 300)}`))); place.removeAttribute("aria-busy"); },
  );
  return place;
}

function figures(found) {
  const lost = found.ndcg_before ? (found.ndcg_after - found.ndcg_before) / found.ndcg_before : 0;
  const loss = found.ndcg_before === null ? "–" : found.ndcg_before === 0 ? "none" : `${lost > 0 ? "+" : ""}${(100 * lost).toFixed(1)} %`.replace("-", "−");
  const told = {
    "purchases since training": `Of ${format.many(found.questions, "customer")} who bought since training.`,
    "last purchases": `Of the last purchase of ${format.many(found.questions, "customer")}, which the model has seen: the difference tells, not the height.`,
    none: "No customer bought twice, so it cannot be told.",
  }[found.held_out];
  const one = (value, name, more) => h("div", { class: "figure" }, h("dt", {}, name), h("dd", {}, value), more ? h("dd", { class: "more" }, more) : null);
  return [
    h(
      "dl",
      {},
      one(`${format.count(found.changed)} of ${format.count(found.customers)}`, "lists change", `${format.many(found.entered, "product")} in, ${format.count(found.left)} out`),
      one(found.moved.toFixed(1), "places, those that stay move", "the mean"),
      found.pinned_shown === null ? null : one(format.percent(found.pinned_shown), "of pins are shown"),
      one(loss, "of finding what customers buy", `ndcg@${found.k}: ${found.ndcg_before === null ? "–" : `${found.ndcg_before.toFixed(4)} → ${found.ndcg_after.toFixed(4)}`}`),
      one(format.count(found.allowed), "products may be listed", `of ${format.count(found.candidates)}`),
    ),
    found.idle_rules.length
      ? h("ul", { class: "warnings" }, ...found.idle_rules.map((name) => h("li", {}, "The rule “", own(format.short(name, 80)), "” is about no product: no product of this catalogue is meant by it.")))
      : null,
    found.idle_pins.length
      ? h("ul", { class: "warnings" }, ...found.idle_pins.map((pin) => h("li", {}, "The pin of ", own(String(pin.product)), pin.rule ? ` has no effect: the product is left out, ${RULES(pin.rule)}.` : " has no effect: the model does not know the product.")))
      : null,
    h("p", { class: "basis" }, told),
  ].filter(Boolean);
}
