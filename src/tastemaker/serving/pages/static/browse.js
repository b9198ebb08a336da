// The catalogue: found, filtered, sorted, a page at a time. All of it stands in the address.

import * as api from "./api.js";
import { card, grid, heading, notice } from "./cards.js";
import { announce, h, icon, own, say } from "./dom.js";
import * as format from "./format.js";
import { go, link } from "./routes.js";
import * as store from "./store.js";

const SIZE = 48;
const FEW = 8; // values of a facet before the rest is folded away
const ORDERS = {
  best: "Best match",
  recent: "Sold of late",
  sold: "Sold of all time",
  trending: "Trending",
  name: "Name",
  price: "Price, lowest first",
  "-price": "Price, highest first",
  newest: "Newest",
};

export async function browse({ asked, signal }) {
  const text = (asked.get("q") ?? "").slice(0, 200);
  const where = asked.getAll("where");
  const page = Math.max(1, Number.parseInt(asked.get("page") ?? "1", 10) || 1);
  const wanted = { search: text, where, sort: asked.get("sort") ?? "best" };
  const [catalogue, found, users] = await Promise.all([
    store.parts(), api.browse(store.at(), { ...wanted, page, size: SIZE }, signal), text && page === 1 ? api.users(store.at(), text, 12, signal) : { users: [] },
  ]);
  const to = (changes) => link("search", undefined, { q: text, where, sort: asked.get("sort"), page: undefined, ...changes });
  const pages = Math.max(1, Math.ceil(found.total / SIZE));
  say(`${format.many(found.total, "product")} found.`);
  return {
    title: text ? `Search: ${text}` : "All products",
    nodes: [
      h("div", { class: "heading" }, h("h1", { tabindex: -1 }, ...(text ? ["Found for ", own(`“${format.short(text, 80)}”`)] : ["All products"]))),
      users.users.length ? h("section", {}, heading(2, "Customers"), people(users.users)) : null,
      h(
        "div",
        { class: "browse" },
        filters(found.facets, where, catalogue, to),
        h(
          "section",
          { "aria-labelledby": "found-products" },
          h(
            "div",
            { class: "heading" },
            h("h2", { id: "found-products" }, format.many(found.total, "product")),
            h(
              "div",
              { class: "ways" },
              h("label", { class: "sort" }, h("span", {}, "Sorted by "), h("select", { "data-focus": "sort", on: { change: (event) => go(to({ sort: event.target.value === "best" ? undefined : event.target.value })) } }, ...found.sorts.filter((one) => one !== "best" || text).map((one) => h("option", { value: one, selected: one === (wanted.sort === "best" && !text ? "sold" : wanted.sort) }, ORDERS[one] ?? one)))),
              h("button", { type: "button", class: "button quiet", "data-focus": "csv", on: { click: () => save(wanted) } }, icon("file"), "CSV"),
            ),
          ),
          chosen(where, to),
          found.products.length
            ? grid(found.products.map((one, place) => card(store.described(one, catalogue), { eager: place < 8, note: sold(one, found.recent_days) })))
            : notice(text || where.length ? "No product has all of this. Take a word or a filter away." : "The model knows no product."),
          pager(page, pages, to),
        ),
      ),
    ],
  };
}

export const people = (users) =>
  h("ul", { class: "people" }, ...users.map((one) => h("li", {}, h("a", { href: link("customer", one.user) }, icon("person"), h("span", { class: "words" }, own(String(one.user)), h("small", {}, format.many(one.purchases, "purchase")))))));

/** How often a product was bought: by how many customers since ever, and how often of late. */
export function sold(one, days) {
  const late = one.recent === null || one.recent === undefined ? null : h("span", {}, ` · ${format.count(one.recent)} sold in the last ${days} days`);
  return h("p", { class: "buyers" }, `Bought by ${format.count(one.buyers)}`, late);
}

function split(condition) {
  const at = condition.indexOf(":");
  return [condition.slice(0, at), condition.slice(at + 1)];
}

function filters(facets, where, catalogue, to) {
  if (!facets.length) return null;
  const toggled = (column, value) => {
    const one = `${column}:${value}`;
    return to({ where: where.includes(one) ? where.filter((other) => other !== one) : [...where, one] });
  };
  const box = (column, { value, count }) => h(
    "li",
    {},
    h("label", {}, h("input", { type: "checkbox", checked: where.includes(`${column}:${value}`), "data-focus": `${column}:${value}`, on: { change: () => go(toggled(column, value)) } }), h("span", {}, own(format.short(value, 60))), h("span", { class: "number" }, format.count(count))),
  );
  const part = (facet) => {
    const [few, more] = [facet.values.slice(0, FEW), facet.values.slice(FEW)];
    const held = where.some((one) => split(one)[0] === facet.column);
    return h(
      "details",
      { open: held || (innerWidth > 760 && facets.indexOf(facet) < 4) },
      h("summary", { "data-focus": `facet:${facet.column}` }, own(format.short(facet.column.replace(/[_-]+/g, " "), 60))),
      facet.values.length ? h("ul", {}, ...few.map((one) => box(facet.column, one))) : range(facet, where, to),
      more.length ? h("details", { open: more.some(({ value }) => where.includes(`${facet.column}:${value}`)) }, h("summary", { "data-focus": `more:${facet.column}` }, `${format.count(more.length)} more`), h("ul", {}, ...more.map((one) => box(facet.column, one)))) : null,
    );
  };
  return h("aside", { class: "filters", "aria-label": "Filters" }, h("h2", {}, "Filters"), ...facets.map(part));
}

function range(facet, where, to) {
  const now = where.find((one) => split(one)[0] === facet.column);
  const [low, high] = now ? split(now)[1].split("..") : ["", ""];
  const bound = (name, value, placeholder) => h("label", { class: "field" }, h("span", {}, name), h("input", { type: "text", inputmode: "decimal", value: value ?? "", placeholder: String(placeholder), "data-focus": `${facet.column}:${name}`, autocomplete: "off" }));
  const submit = (event) => {
    event.preventDefault();
    const [from, until] = [...event.target.querySelectorAll("input")].map((one) => one.value.trim());
    const others = where.filter((one) => split(one)[0] !== facet.column);
    go(to({ where: from || until ? [...others, `${facet.column}:${from}..${until}`] : others }));
  };
  return h("form", { class: "range", on: { submit } }, bound("from", low, facet.least), bound("to", high, facet.most), h("button", { type: "submit", class: "button quiet", "aria-label": `Filter by ${format.short(facet.column, 60)}` }, "Go"));
}

function chosen(where, to) {
  if (!where.length) return null;
  return h("ul", { class: "chosen", "aria-label": "Filters in force" }, ...where.map((one) => h("li", {}, h("a", { class: "button quiet", href: to({ where: where.filter((other) => other !== one) }) }, own(format.short(one.replace(":", ": "), 60)), icon("close"), h("span", { class: "hidden" }, "take this filter away")))));
}

function pager(page, pages, to) {
  if (pages < 2) return null;
  const step = (number, text) => (number >= 1 && number <= pages ? h("a", { class: "button quiet", href: to({ page: number === 1 ? undefined : number }), "data-focus": text }, text) : null);
  return h("nav", { class: "pager", "aria-label": "Pages" }, step(page - 1, "Before"), h("span", {}, `Page ${format.count(page)} of ${format.count(pages)}`), step(page + 1, "Next"));
}

async function save(wanted) {
  try {
    const file = new Blob([await api.browseFile(store.at(), wanted)], { type: "text/csv" });
    const address = URL.createObjectURL(file);
    h("a", { href: address, download: "products.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    announce("products.csv holds all that is found, not this page alone.");
  } catch (trouble) {
    announce(`${trouble.title ?? "The file failed"}.`);
  }
}
