// How a product is shown: as a card of a grid, as a row of a list, and the three things one can do with it.

import { h, hidden, icon, own, say } from "./dom.js";
import * as format from "./format.js";
import { link } from "./routes.js";
import { inBasket, isBanned, isPinned, nameOf, toggleBan, toggleBasket, togglePin } from "./store.js";
import { picture } from "./tile.js";

const SPOKEN = 120;

/** The name, as a link to the product's own view. */
export function nameLink(product, props = {}) {
  const name = nameOf(product);
  return h("a", { class: "name", href: link("product", product.id), ...props }, own(name));
}

/** Price, category and brand in one line. */
export function facts(product) {
  const said = [];
  const price = format.price(product.price);
  if (price) said.push(h("span", { class: "price" }, own(price)));
  if (product.category) said.push(own(product.category));
  if (product.brand && !product.name?.startsWith(product.brand)) said.push(own(product.brand));
  if (!product.name) return h("p", { class: "facts" }, ...said);
  if (!said.length) said.push(h("span", { class: "id" }, own(String(product.id))));
  if (soldOut(product)) said.push(h("span", { class: "soldout" }, "not in stock"));
  return h("p", { class: "facts" }, ...said);
}

export const soldOut = ({ stock }) => stock === false || stock === 0;

/** Basket, pin and ban: buttons that stay pressed. `wide`: with words beside the signs. */
export function actions(product, { wide = false } = {}) {
  const { id } = product;
  const name = format.short(nameOf(product), SPOKEN);
  const button = (what, pressed, drawn, [free, held], toggle, said) =>
    h(
      "button",
      {
        type: "button", class: `act ${what}`, "aria-pressed": String(pressed), "data-focus": `${what}:${id}`,
        title: pressed ? held : free, "aria-label": `${free.split(" ")[0]}: ${name}`,
        on: { click: () => { toggle(id); say(`${name} ${said()}`); } },
      },
      icon(drawn),
      wide ? h("span", {}, pressed ? held : free) : null,
    );
  const held = inBasket(id);
  return h(
    "div",
    { class: `actions${wide ? " wide" : ""}` },
    button("basket", held, held ? "added" : "add", ["Basket", "In the basket"], toggleBasket, () => (inBasket(id) ? "is in the basket." : "left the basket.")),
    button("pin", isPinned(id), "pin", ["Pin to the top", "Pinned"], togglePin, () => (isPinned(id) ? "is pinned, on trial." : "is not pinned any more, on trial.")),
    button("ban", isBanned(id), "ban", ["Ban from lists", "Banned"], toggleBan, () => (isBanned(id) ? "is banned, on trial." : "is not banned any more, on trial.")),
  );
}

/** A card of a grid. `note` comes below the facts. */
export function card(product, { note, rank, eager } = {}) {
  return h(
    "li",
    { class: `card${isBanned(product.id) ? " banned" : ""}`, "data-id": product.id },
    h(
      "div",
      { class: "face" },
      h("a", { class: "picture", href: link("product", product.id), tabindex: -1, "aria-hidden": "true" }, picture(product, { eager })),
      rank === undefined ? null : h("span", { class: "rank", "aria-hidden": "true" }, rank),
      badge(product),
    ),
    h("div", { class: "words" }, nameLink(product), facts(product), note),
    actions(product),
  );
}

export function badge(product) {
  if (isBanned(product.id)) return h("span", { class: "badge ban" }, "Banned");
  if (isPinned(product.id)) return h("span", { class: "badge pin" }, "Pinned");
  return null;
}

/** A small row: picture, name, facts, and something at the end. */
export function row(product, { note, end, rank, tag = "li", class: more = "" } = {}) {
  return h(
    tag,
    { class: `row ${more}`, "data-id": product.id },
    rank === undefined ? null : h("span", { class: "place" }, rank),
    h("a", { class: "picture", href: link("product", product.id), tabindex: -1, "aria-hidden": "true" }, picture(product)),
    h("div", { class: "words" }, nameLink(product), facts(product), note),
    end,
  );
}

/** A score with a bar whose length is its share of the best one's. */
export function scoreBar(score, best) {
  const share = best > 0 ? Math.max(0, Math.min(1, score / best)) : 0;
  return h(
    "p",
    { class: "score" },
    h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "fill", vars: { "--share": share } })),
    h("span", { class: "number" }, hidden("Score "), format.score(score)),
  );
}

export function grid(cards) {
  return h("ul", { class: "grid" }, ...cards);
}

export function heading(level, text, ...more) {
  return h("div", { class: "heading" }, h(`h${level}`, {}, text), ...more);
}

export function notice(text, ...more) {
  return h("p", { class: "notice" }, text, ...more);
}

/** What went wrong, in plain words, and a way on. */
export function trouble(error, again) {
  const title = error.title ?? "This page made a mistake";
  const detail = error.title ? error.message : "It is a fault of the page, not of the model; loading it again may help.";
  if (!error.title) console.error(error);
  return h(
    "section",
    { class: "trouble", role: "alert" },
    h("h1", { tabindex: -1 }, own(title)),
    h("p", {}, own(format.short(detail.replace(/^./, (first) => first.toUpperCase()), 600))),
    h(
      "p",
      { class: "ways" },
      h("button", { type: "button", class: "button", on: { click: again } }, "Try again"),
      h("a", { class: "button quiet", href: link("") }, "To the start"),
    ),
  );
}
