// One rule as a form. What is wrong stands beside the field concerned, in the server's words.

import * as api from "./api.js";
import { announce, h, icon } from "./dom.js";
import * as format from "./format.js";
import * as store from "./store.js";

const DOES = [
  ["boost", "Boost: lift products in every list"],
  ["bury", "Bury: lower products in every list"],
  ["pin", "Pin: put products first"],
  ["ban", "Ban: list none of them"],
  ["only", "Only: list nothing else"],
  ["at_most", "At most: limit how many are alike"],
];
const OPERATORS = [["is", "is"], ["not", "is not"], ["min", "at least"], ["max", "at most"]];

/** Open the form for a new rule, or for the one at a place; what it makes goes on trial. */
export async function editor({ catalogue, rule = { do: "boost", places: 5 }, place }) {
  const facets = await api.browse(store.at(), { size: 1 }).then((found) => found.facets, () => []);
  const columns = Object.keys(catalogue.columns);
  const kinds = catalogue.columns;
  const wrongs = new Map();
  const dialog = h("dialog", { class: "dialog editor", "aria-labelledby": "editing" });
  const close = () => { dialog.close(); dialog.remove(); document.querySelector('[data-focus="make"]')?.focus(); };
  dialog.addEventListener("cancel", close);

  const wrong = (name) => {
    const made = h("p", { class: "wrong", role: "alert", id: `wrong-${name}` });
    wrongs.set(name, made);
    return made;
  };
  const field = (name, text, input, more) => {
    input.id = `rule-${name}`;
    input.setAttribute("aria-describedby", `wrong-${name}`);
    return h("div", { class: "field", "data-field": name }, h("label", { for: input.id }, text), input, more, wrong(name));
  };
  const input = (type, value, props = {}) => h("input", { type, value: value ?? "", ...props });
  const choose = (values, chosen, props = {}) => h("select", props, ...values.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));

  const what = choose(DOES, rule.do, { on: { change: fit } });
  const name = input("text", rule.name, { maxlength: 200, autocomplete: "off" });
  const products = h("textarea", { rows: 2, spellcheck: "false" }, (rule.products ?? []).map(String).join(", "));
  const conditions = h("ul", { class: "conditions" });
  const by = choose([["places", "places of the list"], ["factor", "factor: 2 is twice as likely, 0.5 half"]], rule.factor === undefined ? "places" : "factor", { "aria-label": "How the strength is meant" });
  const amount = input("text", rule.factor ?? rule.places, { inputmode: "decimal", size: 6, autocomplete: "off" });
  const column = choose(columns.map((one) => [one, one]), rule.column);
  const most = input("text", rule.most, { inputmode: "numeric", size: 6, autocomplete: "off" });
  const since = input("text", rule.from, { placeholder: "2026-12-01", autocomplete: "off" });
  const until = input("text", rule.to, { placeholder: "2026-12-24", autocomplete: "off" });

  function addCondition(at = columns[0], operator = "is", value = "") {
    const list = h("datalist", { id: `values-${conditions.childElementCount}-${Math.trunc(performance.now())}` });
    const offer = () => list.replaceChildren(...(facets.find((one) => one.column === where.value)?.values ?? []).map((one) => h("option", { value: one.value })));
    const where = choose(columns.map((one) => [one, one]), at, { "aria-label": "Column", on: { change: offer } });
    const how = choose(OPERATORS, operator, { "aria-label": "How it is compared" });
    const text = input("text", value, { "aria-label": "Value; several with commas", list: list.id, autocomplete: "off" });
    const line = h("li", {}, where, how, text, list, h("button", { type: "button", class: "act", title: "Take this condition out", on: { click: () => line.remove() } }, icon("close"), h("span", { class: "hidden" }, "Take this condition out")));
    offer();
    conditions.append(line);
    return where;
  }

  for (const [at, wanted] of Object.entries(rule.where ?? {})) {
    const plain = wanted === null || typeof wanted !== "object";
    if (plain || Array.isArray(wanted) || wanted.in) addCondition(at, "is", [plain ? wanted : wanted.in ?? wanted].flat().map(quoted).join(", "));
    else if (wanted.not) addCondition(at, "not", [wanted.not].flat().map(quoted).join(", "));
    else for (const bound of ["min", "max"]) if (wanted[bound] !== undefined) addCondition(at, bound, wanted[bound]);
  }

  const targets = h(
    "fieldset",
    {},
    h("legend", {}, "Which products"),
    columns.length ? h("div", { "data-field": "where" }, conditions, wrong("where"), h("button", { type: "button", class: "button quiet", on: { click: () => addCondition().focus() } }, icon("plus"), "Condition")) : h("div", { "data-field": "where" }, wrong("where")),
    field("products", "Ids, with commas; those and no others", products, store.state.basket.length ? h("button", { type: "button", class: "button quiet", on: { click: () => { products.value = store.state.basket.map(String).join(", "); } } }, "Those in the basket") : null),
  );
  const strength = h("div", { class: "beside" }, field("amount", "By", amount), h("div", { class: "field" }, h("span", { "aria-hidden": "true" }, "\u00a0"), by));
  const alike = field("column", "Alike in", column);
  const limit = field("most", "At most", most);

  function fit() {
    const value = what.value;
    targets.hidden = value === "at_most";
    strength.hidden = !["boost", "bury"].includes(value);
    alike.hidden = value !== "at_most";
    limit.hidden = !["at_most", "pin"].includes(value);
    limit.querySelector("label").textContent = value === "pin" ? "How many, with conditions alone (3)" : "At most";
  }

  function read() {
    const found = { name: name.value.trim() || undefined, do: what.value };
    if (what.value !== "at_most") {
      const ids = products.value.split(/[,\n]/).map((one) => one.trim()).filter(Boolean);
      if (ids.length) found.products = ids;
      const where = {};
      for (const line of conditions.children) {
        const [at, how] = [...line.querySelectorAll("select")].map((one) => one.value);
        const text = line.querySelector("input").value;
        if (how === "min" || how === "max") where[at] = { ...(where[at]?.min === undefined && where[at]?.max === undefined ? {} : where[at]), [how]: numberOr(text) };
        else where[at] = how === "not" ? { not: values(text, kinds[at]) } : several(values(text, kinds[at]));
      }
      if (Object.keys(where).length) found.where = where;
    }
    if (!strength.hidden) found[by.value] = numberOr(amount.value);
    if (what.value === "at_most") found.column = column.value;
    if (!limit.hidden && most.value.trim()) found.most = numberOr(most.value);
    if (since.value.trim()) found.from = since.value.trim();
    if (until.value.trim()) found.to = until.value.trim();
    if (rule.paused) found.paused = true;
    return JSON.parse(JSON.stringify(found));
  }

  async function save(event) {
    event.preventDefault();
    for (const one of wrongs.values()) one.textContent = "";
    const made = read();
    try {
      await api.effect(store.at(), { rules: [made] }, 1);
    } catch (trouble) {
      const at = fieldOf(trouble.message, made);
      const said = wrongs.get(at) ?? wrongs.get("form");
      said.textContent = `${trouble.message.replace(/ of rule 1( \([^)]*\))? in the rules of the request/, "").replace(/^rule 1( \([^)]*\))? in the rules of the request/, "This rule").replace(/^./, (first) => first.toUpperCase())}`;
      said.parentElement.querySelector("input, select, textarea")?.focus();
      return;
    }
    const all = store.named();
    store.setNamed(place === undefined ? [...all, made] : all.map((one, other) => (other === place ? made : one)));
    close();
    announce("The rule is on trial: lists on this page follow it, and nobody else's do.");
  }

  dialog.append(
    h("h2", { id: "editing" }, place === undefined ? "A new rule" : "Change the rule"),
    h(
      "form",
      { novalidate: true, on: { submit: save } },
      field("do", "What it does", what),
      strength,
      alike,
      targets,
      limit,
      h("div", { class: "beside" }, field("from", "From", since), field("to", "To, included", until)),
      field("name", "Name", name),
      wrong("form"),
      h("div", { class: "ways" }, h("button", { type: "button", class: "button quiet", on: { click: close } }, "Cancel"), h("button", { type: "submit", class: "button" }, "Put on trial")),
    ),
  );
  if (!columns.length) dialog.append(h("p", { class: "basis" }, "The server has no catalogue, so rules name products by their ids."));
  fit();
  document.body.append(dialog);
  dialog.showModal();
  what.focus();
}

const quoted = (value) => (typeof value === "string" && /[",]/.test(value) ? `"${value.replaceAll('"', '""')}"` : String(value));
const several = (list) => (list.length === 1 ? list[0] : list);

/** A number where it is one; otherwise the text, and the server says what is wrong with it. */
function numberOr(text) {
  const plain = text.trim().replace(/^([-\d]+),(\d+)$/, "$1.$2");
  return plain !== "" && Number.isFinite(Number(plain)) ? Number(plain) : text.trim();
}

/** Values between commas; those in double quotes may hold one. */
function values(text, kind) {
  const found = [...text.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^,]*))\s*(?:,|$)/g)].map(([, held, plain]) => (held === undefined ? plain.trim() : held.replaceAll('""', '"'))).filter((one, place, all) => one !== "" || all.length === 1);
  if (kind === "Boolean") return found.map((one) => ({ true: true, yes: true, false: false, no: false })[one.toLowerCase()] ?? one);
  return /^(Int|UInt|Float)/.test(kind ?? "") ? found.map(numberOr) : found;
}

/** Which field a refusal is about. */
function fieldOf(message, made) {
  const [, first] = message.match(/^`?(\w+)(?:\.[^ ]*)? of rule/) ?? [];
  if (["factor", "places"].includes(first)) return "amount";
  if (["from", "to", "products", "name", "most", "column", "do", "where"].includes(first)) return first;
  if (/before it begins/.test(message)) return "to";
  if (/needs either 'factor' or 'places'/.test(message)) return "amount";
  if (/names no product/.test(message)) return "where";
  if (/has no column|no value of the column|is of type/.test(message)) return made.do === "at_most" ? "column" : "where";
  if (/places|factor/.test(message)) return "amount";
  if (/\.where/.test(message)) return "where";
  if (/\.most/.test(message)) return "most";
  return "form";
}
