// A visitor who bought nothing yet: what is known of them stands in the address, and the list follows each change.

import * as api from "./api.js";
import { notice } from "./cards.js";
import { h, own, say } from "./dom.js";
import * as format from "./format.js";
import { basis, recommendations } from "./lists.js";
import { legend } from "./reasons.js";
import { go, link } from "./routes.js";
import * as store from "./store.js";

const LISTED = 12;
const PARTS = { context: "c.", attributes: "a." };

export async function visitor({ asked, signal }) {
  const fields = await api.known(store.at(), signal);
  const said = { context: {}, attributes: {} };
  for (const [part, mark] of Object.entries(PARTS)) {
    for (const { name } of fields[part]) if (asked.get(mark + name)) said[part][name] = asked.get(mark + name);
  }
  const viewed = fields.viewed ? asked.getAll("v") : [];
  const known = { ...said, viewed };
  const [catalogue, seen, answer] = await Promise.all([
    store.parts(), store.lookUp(viewed, signal), api.list(store.at(), { known, k: LISTED, rules: store.trialRules() }, signal),
  ]);
  const names = new Map(seen.map((one) => [String(one.id), one]));
  say(`${format.many(answer.recommendations.length, "recommendation")} for this visitor.`);
  const change = (name, value) => {
    const values = Object.fromEntries([...new Set(asked.keys())].map((one) => [one, asked.getAll(one)]));
    go(link("visitor", undefined, { ...values, [name]: value }));
  };
  return {
    title: "Visitor",
    nodes: [
      h("div", { class: "heading" }, h("h1", { tabindex: -1 }, "A visitor")),
      h("p", { class: "lead" }, "Nothing was bought yet. Say what is known; the list follows."),
      h(
        "div",
        { class: "two" },
        h(
          "section",
          { class: "history", "aria-labelledby": "known" },
          h("h2", { id: "known" }, "Known"),
          ...Object.entries(PARTS).flatMap(([part, mark]) => fields[part].map((field) => input(field, mark + field.name, said[part][field.name], change))),
          fields.viewed ? input({ name: "Viewed, the oldest first", values: [] }, "v", viewed.join(", "), (name, value) => change(name, value.split(",").map((one) => one.trim()).filter(Boolean))) : null,
        ),
        h(
          "section",
          { class: "listed", "aria-labelledby": "recommended" },
          h("h2", { id: "recommended" }, "Recommended"),
          basis(answer, "in the basket"),
          legend(answer.recommendations),
          answer.recommendations.length ? recommendations(answer, catalogue, names, "they bought") : notice("The rules leave nothing to recommend."),
        ),
      ),
    ],
  };
}

/** A list of the values that the model knows, or a line of text where there is none. */
function input(field, name, value, change) {
  const heard = { change: (event) => change(name, event.target.value) };
  const label = h("span", {}, own(format.short(field.name, 60)));
  if (!field.values.length) return h("label", { class: "field" }, label, h("input", { type: "text", value: value ?? "", "data-focus": name, on: heard }));
  const options = ["", ...field.values].map((one) => h("option", { value: one, selected: one === (value ?? "") }, one ? format.short(one, 60) : "not known"));
  return h("label", { class: "field" }, label, h("select", { "data-focus": name, on: heard }, ...options));
}
