// A list of recommendations with its reasons, and what the list rests on.

import { actions, badge, row } from "./cards.js";
import { h, own } from "./dom.js";
import * as format from "./format.js";
import { why } from "./reasons.js";
import { described, isBanned } from "./store.js";

const SOURCES = {
  personal: "Personal: made from what the customer bought.",
  basket: "Made from the basket.",
  context: "Made from what is known of the visitor: no purchase is.",
  "category best sellers": "Best sellers of the category: nothing else is known.",
  "best sellers": "Best sellers: the model knows nothing else here.",
};

/** Recommendations in rows. `names` are the purchases that may speak, by id as text. */
export function recommendations(answer, catalogue, names, because) {
  return h(
    "ol",
    { class: "recommendations" },
    ...answer.recommendations.map((one) => {
      const product = described(one, catalogue);
      const speakers = (one.reasons?.purchases ?? []).map((speaks) => speaks.product);
      return h(
        "li",
        { class: `recommendation${isBanned(product.id) ? " banned" : ""}`, "data-id": product.id, "data-speakers": JSON.stringify(speakers) },
        row(product, {
          tag: "div",
          rank: one.rank,
          note: h("div", { class: "doing" }, actions(product), badge(product)),
          end: h("span", { class: "number" }, h("span", { class: "hidden" }, "Score "), format.score(one.score)),
        }),
        why(one, names, because),
      );
    }),
  );
}

/** What a list rests on: its source, what the rules removed, what is unknown. */
export function basis(answer, purchased) {
  const { rules } = answer;
  const left = rules.candidates - rules.removed.reduce((sum, one) => sum + one.removed, 0);
  const removed = rules.removed.filter((one) => one.removed).map((one) => `${format.count(one.removed)} ${one.rule === "purchased" ? purchased : RULES(one.rule)}`);
  return h(
    "p",
    { class: "basis" },
    h("span", {}, SOURCES[answer.source] ?? answer.source),
    " ",
    h("span", {}, `${format.count(left)} of ${format.count(rules.candidates)} products may be listed`, removed.length ? ` (left out: ${removed.join(", ")}).` : "."),
    answer.filled ? ` The last ${answer.filled} are best sellers of other categories.` : null,
    answer.unknown.length ? [" Not known to the model: ", own(format.short(answer.unknown.map(String).join(", "), 200)), "."] : null,
  );
}

export function RULES(rule) {
  const names = { deny: "banned", allow: "not among those allowed", minimum_price: "too cheap" };
  if (names[rule]) return names[rule];
  if (rule.startsWith("rules.")) return `by the rule “${rule.slice(6)}”`;
  if (rule.startsWith("where.")) return `by ${rule.slice(6)}`;
  if (rule.startsWith("at_most.")) return `too many of one ${rule.slice(8)}`;
  return rule;
}
