// What the server counts. A link to /metrics would send no key, so the page asks for it.

import * as api from "./api.js";
import { h } from "./dom.js";

export async function metrics({ signal }) {
  const text = await api.metrics(signal);
  return {
    title: "Metrics",
    nodes: [
      h(
        "section",
        { class: "metrics" },
        h("h1", { tabindex: -1 }, "Metrics"),
        h("p", {}, "What this server has counted since it started. Prometheus reads the same at ", h("code", {}, "/metrics"), ", with a key where the server has keys."),
        h("pre", { tabindex: 0, role: "region", "aria-label": "Metrics as text" }, text),
      ),
    ],
  };
}
