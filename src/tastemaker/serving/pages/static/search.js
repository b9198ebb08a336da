// The search box: products by name or id, customers by id, with suggestions (the combobox pattern of WAI-ARIA).

import * as api from "./api.js";
import { h, hidden, icon, own, say } from "./dom.js";
import * as format from "./format.js";
import { facts } from "./cards.js";
import { go, link } from "./routes.js";
import { at, described, nameOf, parts } from "./store.js";
import { picture } from "./tile.js";

/** Fill the box; return a function that puts the focus there. */
export function searchBox(place) {
  const input = h("input", {
    id: "find", type: "search", role: "combobox", placeholder: "Product or customer", autocomplete: "off", autocapitalize: "off",
    spellcheck: "false", maxlength: 200, "aria-expanded": "false", "aria-controls": "found", "aria-autocomplete": "list",
  });
  const found = h("ul", { id: "found", role: "listbox", "aria-label": "Suggestions", hidden: true });
  place.replaceChildren(
    h("label", { for: "find" }, icon("search"), hidden("Search products by name or id, customers by id")),
    input,
    h("kbd", { "aria-hidden": "true" }, "/"),
    found,
  );

  let options = [];
  let active = -1;
  let asking, shown;

  function close() {
    asking?.abort();
    asking = shown = undefined;
    found.hidden = true;
    input.setAttribute("aria-expanded", "false");
    activate(-1);
  }

  function activate(number) {
    active = number;
    options.forEach(({ element }, place) => element.setAttribute("aria-selected", String(place === number)));
    if (number < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", options[number].element.id);
      options[number].element.scrollIntoView({ block: "nearest" });
    }
  }

  function show(content, said, text, kept = -1) {
    found.dataset.text = text;
    found.replaceChildren(...content);
    found.hidden = false;
    input.setAttribute("aria-expanded", "true");
    activate(kept);
    say(said);
  }

  async function suggest() {
    const text = input.value.trim();
    if (!text) return close();
    if (asking) return undefined; // one question at a time; what was typed meanwhile is asked when its answer is there
    asking = new AbortController();
    const { signal } = asking;
    shown = text;
    try {
      const [catalogue, products, users] = await Promise.all([
        parts(), api.products(at(), text, 6, signal), api.users(at(), text, 4, signal),
      ]);
      if (signal.aborted) return undefined;
      const pointed = options[active]?.address; // stays pointed at where a later answer has it too
      options = [
        ...products.products.map((one) => option(productOption(described(one, catalogue)), link("product", one.product))),
        ...users.users.map((one) => option(userOption(one), link("customer", one.user))),
      ].map((one, place) => (one.element.setAttribute("id", `found-${place}`), one));
      const nothing = h("li", { class: "none", role: "presentation" }, "Nothing is named or spelled like this.");
      const counts = `${format.many(products.products.length, "product")}, ${format.many(users.users.length, "customer")} found.`;
      const kept = options.findIndex((one) => one.address === pointed);
      return show(options.length ? options.map((one) => one.element) : [nothing], options.length ? counts : "Nothing found.", text, kept);
    } catch (trouble) {
      if (trouble.name === "AbortError") return undefined;
      options = [];
      return show([h("li", { class: "none", role: "presentation" }, `${trouble.title ?? "The search failed"}.`)], "The search failed.", text);
    } finally {
      if (asking?.signal === signal) {
        asking = undefined;
        if (input.value.trim() !== shown) suggest();
      }
    }
  }

  function option(content, address) {
    const element = h("li", { role: "option", "aria-selected": "false", on: {
      pointerdown: (event) => event.preventDefault(),
      click: () => choose(address),
    } }, content);
    return { element, address };
  }

  function choose(address) {
    close();
    input.value = "";
    input.blur();
    go(address);
  }

  input.addEventListener("input", suggest);
  input.addEventListener("focus", () => { if (input.value.trim()) suggest(); });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (found.hidden) { suggest(); return; }
      const step = event.key === "ArrowDown" ? 1 : -1;
      const places = options.length + 1;
      if (options.length) activate(((active + 1 + step + places) % places) - 1);
    } else if (event.key === "Enter") {
      event.preventDefault();
      const text = input.value.trim();
      if (active >= 0) choose(options[active].address);
      else if (text) choose(link("search", undefined, { q: text }));
    } else if (event.key === "Escape") {
      if (found.hidden) input.value = "";
      close();
    }
  });
  return () => { input.focus(); input.select(); };
}

function productOption(product) {
  return [
    h("span", { class: "picture" }, picture(product)),
    h("span", { class: "words" }, h("span", { class: "name" }, own(nameOf(product))), facts(product)),
    h("span", { class: "id" }, own(String(product.id))),
  ];
}

function userOption(one) {
  return [
    h("span", { class: "picture person" }, icon("person")),
    h("span", { class: "words" }, h("span", { class: "name" }, "Customer ", own(String(one.user))), h("p", { class: "facts" }, format.many(one.purchases, "purchase"))),
  ];
}
