// Rules in words, as a merchandiser reads them.

import * as format from "./format.js";

/** What a column must hold. */
export function condition(wanted) {
  if (wanted === null || typeof wanted !== "object") return said(wanted);
  const among = Array.isArray(wanted) ? wanted : wanted.in;
  if (among) return format.short(among.map(said).join(" or "), 300);
  if (wanted.not) return `not ${format.short([wanted.not].flat().map(said).join(" or "), 300)}`;
  return [wanted.min === undefined ? null : `at least ${wanted.min}`, wanted.max === undefined ? null : `at most ${wanted.max}`].filter(Boolean).join(", ");
}

const said = (value) => (value === true ? "yes" : value === false ? "no" : String(value));

/** One rule as a sentence. */
export function ruleSaid(rule) {
  const which = targets(rule);
  const until = [rule.from ? `from ${rule.from}` : null, rule.to ? `to ${rule.to}` : null].filter(Boolean).join(" ");
  return `${strength(rule)}${which ? `: ${which}` : ""}${until ? `; ${until}` : ""}.`;
}

function strength(rule) {
  const by = rule.places !== undefined ? `by ${format.many(rule.places, "place")}` : rule.factor !== undefined ? `by the factor ${rule.factor}` : "";
  return {
    pin: rule.products?.length ? "Pin first" : `Pin the ${rule.most ?? 3} best sellers first`,
    ban: "Ban",
    only: "List nothing but",
    boost: `Boost ${by}`,
    bury: `Bury ${by}`,
    at_most: `At most ${rule.most} of one ${rule.column} in a list`,
  }[rule.do];
}

function targets(rule) {
  const parts = [];
  if (rule.products?.length) parts.push(`${format.many(rule.products.length, "product")} (${format.short(rule.products.map(String).join(", "), 80)})`);
  for (const [column, wanted] of Object.entries(rule.where ?? {})) parts.push(`${column} is ${condition(wanted)}`);
  return parts.join(", ");
}

/** Whether a rule holds now. Dates are days of UTC, the last one included, as the server reads them. */
export function stateOf(rule, now = Date.now()) {
  if (rule.paused) return { kind: "ban", said: "paused" };
  const day = 86_400_000;
  const moment = (text, more) => Date.parse(text) + (text.length === 10 ? more : 0);
  if (rule.from && now < moment(rule.from, 0)) return { kind: "live", said: "not yet" };
  if (rule.to && now >= moment(rule.to, day)) return { kind: "ban", said: "over" };
  return { kind: "", said: "in force" };
}
