// Why a product is recommended: what each purchase says for it, taste and memory apart, and all of it adds up to the score.

import { h, hidden, own } from "./dom.js";
import * as format from "./format.js";
import { nameOf } from "./store.js";

const SHOWN = 64;
const LEAST = 0.005;

/** The parts of a score: `{kind, value, label, product}`, those of purchases first. */
function parts(reasons, names) {
  const found = [];
  for (const one of reasons.purchases) {
    const product = names.get(String(one.product)) ?? { id: one.product, rest: [] };
    found.push({ kind: "taste", value: one.taste, product, together: one.together });
    found.push({ kind: "memory", value: one.memory, product, together: one.together });
  }
  for (const one of reasons.facts ?? []) found.push({ kind: "known", value: one.weight, label: fact(one, names) });
  found.push({ kind: "known", value: reasons.others_facts ?? 0, label: "all else that is known" });
  found.push({ kind: "taste", value: reasons.others_taste, label: "the other purchases" });
  found.push({ kind: "memory", value: reasons.others_memory, label: "the other purchases" });
  found.push({ kind: "taste", value: reasons.taste, label: "the customer's own taste" });
  found.push({ kind: "repeat", value: reasons.repeat, label: "having been bought before" });
  found.push({ kind: "popularity", value: reasons.popularity, label: "its popularity" });
  return found.filter((part) => part.value !== 0);
}

/** What is known beside purchases, in words: "occasion wedding", "view of Hat". */
function fact(one, names) {
  if (one.product === undefined) return one.fact;
  return `${one.fact} of ${nameOf(names.get(String(one.product)) ?? { id: one.product })}`;
}

/** The reasons of one recommendation. `because` begins the sentence: "they bought" or "of". */
export function why(one, names, because) {
  const { reasons } = one;
  if (!reasons) return null;
  const all = parts(reasons, names);
  const speaking = all.reduce((sum, part) => sum + Math.max(0, part.value), 0);
  const share = (value) => (speaking > 0 ? Math.max(0, value) / speaking : 0);
  return h(
    "div",
    { class: "why" },
    bar(all, share),
    sentence(reasons, names, because, share),
    h(
      "details",
      {},
      h("summary", { "data-focus": `why:${one.product}` }, "The whole sum", hidden(` for product ${format.short(String(one.product), 60)}`)),
      sum(one, names),
    ),
  );
}

function bar(all, share) {
  const told = ["known", "taste", "memory", "repeat", "popularity"]
    .map((kind) => [kind, all.filter((part) => part.kind === kind).reduce((sum, part) => sum + share(part.value), 0)])
    .filter(([, value]) => value >= LEAST);
  return h(
    "div",
    { class: "shares", role: "img", "aria-label": `What speaks for it: ${told.map(([kind, value]) => `${kind} ${format.percent(value)}`).join(", ")}` },
    ...all
      .filter((part) => share(part.value) >= LEAST)
      .map((part) => h("span", { class: `share ${part.kind}`, vars: { "--share": share(part.value) }, title: `${format.short(part.product ? nameOf(part.product) : part.label, SHOWN)}, ${part.kind}: ${format.percent(share(part.value))}` })),
  );
}

function sentence(reasons, names, because, share) {
  const speakers = reasons.purchases
    .map((one) => ({ ...one, weight: share(one.taste) + share(one.memory) }))
    .filter((one) => one.weight >= LEAST);
  const told = (reasons.facts ?? []).filter((one) => share(one.weight) >= LEAST);
  if (!speakers.length && told.length) {
    return h(
      "ul",
      { class: "because" },
      ...told.map((one, place) => h("li", {}, h("span", { class: "percent" }, format.percent(share(one.weight))), h("span", { class: "reason" }, place ? "and " : "Because of ", h("b", {}, own(format.short(fact(one, names), SHOWN)))))),
    );
  }
  if (!speakers.length) {
    const popular = reasons.popularity > 0 ? "Because it sells well" : "No single purchase speaks for it";
    return h("p", { class: "because" }, popular, ".");
  }
  return h(
    "ul",
    { class: "because" },
    ...speakers.map((one, place) => {
      const product = names.get(String(one.product)) ?? { id: one.product };
      return h(
        "li",
        { "data-speaker": one.product },
        h("span", { class: "percent" }, format.percent(one.weight)),
        h(
          "span",
          { class: "reason" },
          place ? "and " : `Because ${because} `,
          h("b", {}, own(format.short(nameOf(product), SHOWN))),
          one.together ? h("span", { class: "together" }, ` bought together by ${format.many(one.together, "customer")}`) : null,
        ),
      );
    }),
  );
}

function sum(one, names) {
  const { reasons } = one;
  const line = (label, taste, memory, value) =>
    h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, taste ?? ""), h("td", {}, memory ?? ""), h("td", {}, format.score(value)));
  const speaker = (speaks) => {
    const product = names.get(String(speaks.product)) ?? { id: speaks.product };
    return line(own(format.short(nameOf(product), SHOWN)), format.score(speaks.taste), format.score(speaks.memory), speaks.taste + speaks.memory);
  };
  const others = reasons.others_taste || reasons.others_memory;
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: "sum" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What speaks"), h("th", { scope: "col" }, "Taste"), h("th", { scope: "col" }, "Memory"), h("th", { scope: "col" }, "Sum"))),
      h(
        "tbody",
        {},
        ...reasons.purchases.map(speaker),
        ...(reasons.facts ?? []).map((known) => line(own(format.short(fact(known, names), SHOWN)), "", "", known.weight)),
        reasons.others_facts ? line("All else that is known", "", "", reasons.others_facts) : null,
        others ? line("Other purchases", format.score(reasons.others_taste), format.score(reasons.others_memory), reasons.others_taste + reasons.others_memory) : null,
        reasons.taste ? line("The customer's own taste", format.score(reasons.taste), "", reasons.taste) : null,
        reasons.repeat ? line("Bought before", "", "", reasons.repeat) : null,
        line("Popularity", "", "", reasons.popularity),
      ),
      h("tfoot", {}, line("Score", "", "", one.score)),
    ),
  );
}

/** What the colours of the bars mean. */
export function legend(lists) {
  const kinds = [
    ["known", "what is known beside purchases", (one) => one.others_facts || (one.facts ?? []).length],
    ["taste", "taste: what they bought resembles it", (one) => one.taste || one.others_taste || one.purchases.some((speaks) => speaks.taste)],
    ["memory", "memory: customers bought both", (one) => one.others_memory || one.purchases.some((speaks) => speaks.memory)],
    ["repeat", "bought before", (one) => one.repeat],
    ["popularity", "popularity", (one) => one.popularity > 0],
  ];
  const there = kinds.filter(([, , holds]) => lists.some((one) => one.reasons && holds(one.reasons)));
  return h("ul", { class: "legend" }, ...there.map(([kind, said]) => h("li", {}, h("span", { class: `dot ${kind}`, "aria-hidden": "true" }), said)));
}
