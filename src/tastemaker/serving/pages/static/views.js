// The views. Each takes `{id, asked, signal}` and returns `{title, nodes}`; it throws what went wrong.

import * as api from "./api.js";
import { people, sold } from "./browse.js";
import { actions, badge, card, grid, heading, notice, row, scoreBar, soldOut } from "./cards.js";
import { h, icon, own, say } from "./dom.js";
import * as format from "./format.js";
import { basis, recommendations } from "./lists.js";
import { legend } from "./reasons.js";
import { go, link } from "./routes.js";
import * as store from "./store.js";
import { picture } from "./tile.js";

const NEIGHBOURS = 24;
const LISTED = 12;
const HISTORY = 40;

export async function start({ signal }) {
  const [catalogue, best, users, known] = await Promise.all([
    store.parts(), api.browse(store.at(), { sort: "sold", size: 12 }, signal), api.users(store.at(), "", 6, signal), api.known(store.at(), signal),
  ]);
  const late = best.sorts.includes("recent") ? await api.browse(store.at(), { sort: "recent", size: 12 }, signal) : undefined;
  const served = store.servedModel();
  const facts = served.versions.find((one) => one.version === best.version) ?? served.versions.at(-1);
  const counts = facts.counts ?? {};
  const numbers = [["products", "product"], ["users", "customer"], ["purchases", "purchase"]].filter(([name]) => counts[name] !== undefined);
  return {
    title: "Start",
    nodes: [
      h(
        "section",
        { class: "hero" },
        h("h1", { tabindex: -1 }, own(served.name)),
        h("p", { class: "lead" }, `Version ${best.version}, trained ${format.day(facts.created)}.`),
        h("dl", { class: "counts" }, ...numbers.map(([name, one]) => h("div", {}, h("dt", {}, counts[name] === 1 ? one : `${one}s`), h("dd", {}, format.count(counts[name]))))),
      ),
      versionTroubles(served),
      h(
        "section",
        {},
        heading(2, "Some customers", h("a", { class: "button quiet", href: link("customer") }, icon("dice"), "Another at random")),
        users.users.length
          ? people(users.users)
          : notice("This model knows no customer."),
      ),
      known.context.length || known.attributes.length
        ? h("p", {}, h("a", { class: "button", href: link("visitor"), "data-focus": "visitor" }, icon("person"), "A visitor of whom only this and that is known"))
        : null,
      late ? h("section", {}, heading(2, `Best sellers of the log's last ${late.recent_days} days`, all("recent")), shown(late, catalogue)) : null,
      h("section", {}, heading(2, "Best sellers of all time", all("sold", late ? undefined : best.total)), shown(best, catalogue)),
    ],
  };
}

function versionTroubles(served) {
  const refused = Object.entries(served.refused ?? {});
  const said = refused.map(([number, why]) => `Version ${number} was refused: ${format.short(why, 300)}`);
  if (served.rules_problem) said.push(`The rules file cannot be read, and the former rules are in force: ${format.short(served.rules_problem, 300)}`);
  return said.length ? h("ul", { class: "warnings" }, ...said.map((one) => h("li", {}, own(one)))) : null;
}

const all = (sort, total) => h("a", { class: "button quiet", href: link("search", undefined, { sort }), "data-focus": `all:${sort}` }, total === undefined ? "All products" : `All ${format.count(total)} products`);
const shown = (found, catalogue) => grid(found.products.map((one, place) => card(store.described(one, catalogue), { eager: place < 6, note: sold(one, found.recent_days) })));

export async function product({ id, asked, signal }) {
  const by = asked.get("by") === "cosine" ? "cosine" : "dot";
  const [catalogue, found] = await Promise.all([store.parts(), api.product(store.at(), id, signal).catch(unknown(id))]);
  const one = found.products[0];
  const product = store.described(one, catalogue);
  const near = await api.neighbours(store.at(), one.product, by, NEIGHBOURS + store.bans().length, signal);
  const shown = near.similar.filter((other) => !store.isBanned(other.product)).slice(0, NEIGHBOURS);
  const best = shown.length ? shown[0].score : 0;
  const name = store.nameOf(product);
  say(`${format.many(shown.length, "neighbour")} of ${format.short(name, 80)}.`);
  return {
    title: format.short(name, 80),
    nodes: [
      h(
        "article",
        { class: "product" },
        h("div", { class: "portrait" }, picture(product, { alt: `Picture of ${format.short(name, 200)}`, eager: true })),
        h(
          "div",
          { class: "story" },
          h("h1", { tabindex: -1 }, own(name)),
          h("p", { class: "cost" }, own(format.price(product.price)), soldOut(product) ? h("span", { class: "soldout" }, "not in stock") : null, badge(product)),
          h(
            "dl",
            { class: "about" },
            entry("Id", product.id),
            entry("Category", product.category),
            entry("Brand", product.brand),
            entry("Bought by", format.many(one.buyers, "customer")),
            ...product.rest.map(([column, value]) => entry(label(column), format.short(format.text(value), 2000))),
          ),
          h("div", { class: "ways" }, actions(product, { wide: true }), h("a", { class: "button quiet", href: link("compare", undefined, { product: one.product }) }, icon("compare"), "Compare versions")),
        ),
      ),
      h(
        "section",
        {},
        heading(
          2,
          "Products like it",
          h(
            "div",
            { class: "choice", role: "group", "aria-label": "What counts" },
            ...[["dot", "Popular ones first"], ["cosine", "Taste alone"]].map(([value, text]) =>
              h("a", { href: link("product", id, { by: value === "dot" ? undefined : value }), "aria-current": value === by ? "true" : undefined, "data-focus": `by:${value}` }, text)),
          ),
        ),
        h("p", { class: "basis" }, by === "dot" ? "Bought by customers of the same taste; of two as near, the one that sells better stands first." : "Bought by customers of the same taste, whether it sells well or hardly at all."),
        shown.length ? grid(shown.map((other) => card(store.described(other, catalogue), { note: scoreBar(other.score, best) }))) : notice("The rules leave no product to show beside it."),
      ),
    ],
  };
}

const unknown = (id) => (trouble) => {
  if (trouble.status !== 404) throw trouble;
  const where = `Version ${store.version()} of ${store.state.model}`;
  throw new api.Trouble(404, `There is no product ${format.short(String(id), 80)}`, `${where} does not know it: nobody had bought it when it was trained. Search for another, or look at another version.`);
};

const entry = (name, value) => (value === undefined || value === "" ? null : h("div", {}, h("dt", {}, own(name)), h("dd", {}, own(String(value)))));
const label = (column) => format.short(column.replace(/[_-]+/g, " ").replace(/^./, (first) => first.toUpperCase()), 60);

export async function customer({ id, asked, signal }) {
  if (id === undefined) {
    const { users } = await api.users(store.at(), "", 1, signal, asked.get("of"));
    if (!users.length) return { title: "Customers", nodes: [h("h1", { tabindex: -1 }, "Customers"), notice("This model knows no customer.")] };
    go(link("customer", users[0].user, { of: asked.get("of") }), { replace: true });
    return undefined;
  }
  const [catalogue, answer, history] = await Promise.all([
    store.parts(),
    api.list(store.at(), { user: id, k: LISTED, rules: store.trialRules(), again: asked.has("again") ? asked.get("again") === "1" : undefined }, signal),
    api.history(store.at(), id, signal).catch((trouble) => { if (trouble.status === 404) return { purchases: [] }; throw trouble; }),
  ]);
  const bought = history.purchases.map((one) => ({ ...one, product: store.described(one, catalogue) }));
  const names = new Map(bought.map((one) => [String(one.product.id), one.product]));
  const spoken = new Map();
  for (const one of answer.recommendations) {
    for (const { product } of one.reasons?.purchases ?? []) spoken.set(String(product), (spoken.get(String(product)) ?? 0) + 1);
  }
  say(`${format.many(answer.recommendations.length, "recommendation")} for customer ${format.short(String(id), 60)}.`);
  const whole = asked.get("history") === "all";
  const node = h(
    "div",
    { class: "two" },
    h(
      "section",
      { class: "history", "aria-labelledby": "bought" },
      h("h2", { id: "bought" }, "Bought ", h("small", {}, format.count(bought.length))),
      bought.length
        ? h("ul", { class: "rows" }, ...(whole ? bought : bought.slice(0, HISTORY)).map((one) => row(one.product, { note: speaks(spoken.get(String(one.product.id)), answer.recommendations.length), end: h("div", { class: "end" }, times(one)) })))
        : notice("The model knows no purchase of this customer."),
      bought.length > HISTORY && !whole ? h("a", { class: "button quiet", href: link("customer", id, { history: "all" }) }, `All ${format.count(bought.length)}`) : null,
    ),
    h(
      "section",
      { class: "listed", "aria-labelledby": "recommended" },
      h("div", { class: "heading" }, h("h2", { id: "recommended" }, "Recommended"), buyAgain(answer, id, asked)),
      basis(answer, "bought already"),
      legend(answer.recommendations),
      answer.recommendations.length ? recommendations(answer, catalogue, names, "they bought") : notice("The rules leave nothing to recommend."),
    ),
  );
  lightUp(node);
  return {
    title: `Customer ${format.short(String(id), 60)}`,
    nodes: [
      h(
        "div",
        { class: "heading" },
        h("h1", { tabindex: -1 }, "Customer ", own(format.short(String(id), 200))),
        h(
          "div",
          { class: "ways" },
          segments(asked),
          h("a", { class: "button", href: link("customer", undefined, { of: asked.get("of") }), "data-focus": "random" }, icon("dice"), "Another at random"),
          h("a", { class: "button quiet", href: link("compare", undefined, { user: id }) }, icon("compare"), "Compare versions"),
        ),
      ),
      node,
    ],
  };
}

/** Whether what was bought may be listed again; the address keeps it. */
function buyAgain(answer, id, asked) {
  const may = !answer.rules.removed.some((one) => one.rule === "purchased");
  const change = (event) => go(link("customer", id, { of: asked.get("of"), history: asked.get("history"), again: event.target.checked ? 1 : 0 }));
  return h("label", { class: "tick" }, h("input", { type: "checkbox", checked: may, "data-focus": "again", on: { change } }), "what was bought may come again");
}

/** Whom a random customer is taken from. */
function segments(asked) {
  const change = (event) => go(link("customer", undefined, { of: event.target.value }));
  const options = [["", "any customer"], ["many", "many purchases"], ["one", "one purchase"], ["new", "new customers"]];
  return h("label", { class: "sort" }, h("span", { class: "hidden" }, "Whom a random customer is taken from"), h("select", { "data-focus": "of", on: { change } }, ...options.map(([value, text]) => h("option", { value, selected: value === (asked.get("of") ?? "") }, text))));
}

const times = (one) => [one.times > 1 ? h("span", { class: "times" }, `× ${one.times}`) : null, one.live ? h("span", { class: "badge live" }, "new") : null];
const speaks = (number, of) => (number ? h("p", { class: "speaks" }, `speaks for ${number} of ${of}`) : null);

/** Point at a recommendation, and the purchases that speak for it light up; point at a purchase, and what it speaks for does. */
function lightUp(node) {
  const light = (event) => {
    const one = event.target.closest?.("[data-id]");
    for (const lit of node.querySelectorAll(".lit")) lit.classList.remove("lit");
    if (!one || event.type === "pointerleave") return;
    const recommendation = event.target.closest(".recommendation");
    if (recommendation) {
      const speakers = new Set(JSON.parse(recommendation.dataset.speakers).map(String));
      for (const bought of node.querySelectorAll(".history [data-id]")) bought.classList.toggle("lit", speakers.has(bought.dataset.id));
    } else {
      for (const other of node.querySelectorAll(".recommendation")) other.classList.toggle("lit", JSON.parse(other.dataset.speakers).map(String).includes(one.dataset.id));
    }
  };
  node.addEventListener("pointerover", light);
  node.addEventListener("pointerleave", light);
  node.addEventListener("focusin", light);
}

export async function basket({ asked, signal }) {
  if (asked.has("p")) store.setBasket(asked.getAll("p"));
  else if (store.state.basket.length) {
    go(link("basket", undefined, { p: store.state.basket }), { replace: true });
    return undefined;
  }
  const ids = store.state.basket;
  if (!ids.length || (asked.has("p") && !asked.getAll("p").length)) return emptyBasket(signal);
  const [catalogue, held, answer] = await Promise.all([
    store.parts(), store.lookUp(ids, signal), api.list(store.at(), { basket: ids, k: LISTED, rules: store.trialRules() }, signal),
  ]);
  const names = new Map(held.map((one) => [String(one.id), one]));
  say(`${format.many(answer.recommendations.length, "recommendation")} for ${format.many(ids.length, "product")} in the basket.`);
  return {
    title: "Basket",
    nodes: [
      h(
        "div",
        { class: "heading" },
        h("h1", { tabindex: -1 }, "Basket"),
        h(
          "div",
          { class: "ways" },
          h("button", { type: "button", class: "button quiet", on: { click: () => store.setBasket([]) } }, icon("close"), "Empty it"),
          h("a", { class: "button quiet", href: link("compare", undefined, { p: ids }) }, icon("compare"), "Compare versions"),
        ),
      ),
      h(
        "div",
        { class: "two" },
        h("section", { class: "history", "aria-labelledby": "held" }, h("h2", { id: "held" }, "In it ", h("small", {}, format.count(ids.length))), h("ul", { class: "rows" }, ...held.map(heldRow))),
        h(
          "section",
          { class: "listed", "aria-labelledby": "recommended" },
          h("h2", { id: "recommended" }, "What goes with it"),
          basis(answer, "in the basket"),
          legend(answer.recommendations),
          answer.recommendations.length ? recommendations(answer, catalogue, names, "the basket has") : notice("The rules leave nothing to recommend."),
        ),
      ),
    ],
  };
}

export function heldRow(product) {
  return row(product, {
    note: product.unknown ? h("p", { class: "facts" }, "The model does not know it.") : null,
    end: h(
      "button",
      { type: "button", class: "act", title: "Take it out", "data-focus": `out:${product.id}`, on: { click: () => store.toggleBasket(product.id) } },
      icon("close"),
      h("span", { class: "hidden" }, `Take out: ${format.short(store.nameOf(product), 120)}`),
    ),
  });
}

async function emptyBasket(signal) {
  const [catalogue, best] = await Promise.all([store.parts(), api.browse(store.at(), { sort: "sold", size: 12 }, signal)]);
  return {
    title: "Basket",
    nodes: [
      h("h1", { tabindex: -1 }, "Basket"),
      notice("It is empty. Put something in, here or anywhere, and what goes with it is shown at once."),
      shown(best, catalogue),
    ],
  };
}
