// The basket at the foot of every view, which moves nothing: what is in it, and what goes with it, at once.

import * as api from "./api.js";
import { row } from "./cards.js";
import { h } from "./dom.js";
import * as format from "./format.js";
import { link, route } from "./routes.js";
import * as store from "./store.js";
import { heldRow } from "./views.js";

const LISTED = 8;
let asking;

export async function basketPanel(place) {
  asking?.abort();
  const ids = store.state.basket;
  const hide = !ids.length || ["basket", "compare"].includes(route().view);
  place.hidden = hide;
  if (hide) return place.replaceChildren();
  asking = new AbortController();
  const { signal } = asking;
  try {
    const [catalogue, held, answer] = await Promise.all([
      store.parts(), store.lookUp(ids, signal), api.list(store.at(), { basket: ids, k: LISTED, rules: store.trialRules(), why: false }, signal),
    ]);
    if (signal.aborted) return undefined;
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
    place.replaceChildren(
      h("div", { class: "heading" }, h("h2", {}, "Basket ", h("small", {}, format.count(ids.length))), h("a", { class: "button", href: link("basket", undefined, { p: ids }) }, "Open")),
      h(
        "div",
        { class: "shelf" },
        h("div", {}, h("h3", {}, "In it"), h("ul", { class: "rows", tabindex: 0, "aria-label": "In the basket" }, ...held.map(heldRow))),
        h("div", {}, h("h3", {}, "Goes with it"), h("ol", { class: "rows", tabindex: 0, "aria-label": "Goes with the basket" }, ...answer.recommendations.map((one) => row(store.described(one, catalogue), { rank: one.rank })))),
      ),
    );
    if (focused) (place.querySelector(`[data-focus="${CSS.escape(focused)}"]`) ?? place.querySelector("a")).focus();
  } catch (trouble) {
    if (trouble.name === "AbortError") return undefined;
    place.replaceChildren(h("h2", {}, "Basket"), h("p", { class: "wrong" }, `${trouble.title ?? "The list failed"}.`), h("button", { type: "button", class: "button", on: { click: () => basketPanel(place) } }, "Try again"));
  }
  return undefined;
}
