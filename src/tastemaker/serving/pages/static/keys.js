// A form that asks for a key. The key stays in the memory of this browser's tabs, and goes to this server only.

import { h } from "./dom.js";
import * as store from "./store.js";

export function keyForm(reason, accepted, wrong = "") {
  const problem = h("p", { class: "wrong", role: "alert" }, wrong);
  const input = h("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true, maxlength: 500, autofocus: true });
  const submit = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await store.useKey(input.value);
      await accepted();
    } catch (trouble) {
      problem.textContent = trouble.status === 401 ? "The server does not know this key." : `${trouble.title ?? "It failed"}. ${trouble.message}`;
      input.select();
    }
  };
  return h(
    "form",
    { class: "key", on: { submit } },
    h("p", {}, reason, " It stays in this browser's tabs, and is forgotten with the last of them."),
    h("label", { class: "field", for: "key" }, h("span", {}, "API key"), input),
    problem,
    h("div", { class: "ways" }, h("button", { type: "submit", class: "button" }, "Use it")),
  );
}
