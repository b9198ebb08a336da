// Addresses of views: everything that is shown stands in the address, so that it can be shared and the back button works.

import { state } from "./store.js";

/** Return the address of a view. `values` may hold lists: their entries come one by one. */
export function link(view, id, values = {}) {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") asked.append(name, one);
    }
  }
  if (!("model" in values) && state.models.length > 1 && state.model) asked.append("model", state.model);
  if (!("version" in values) && state.version !== undefined) asked.append("version", state.version);
  const path = id === undefined ? view : `${view}/${encodeURIComponent(String(id))}`;
  return `#/${path}${asked.size ? `?${asked}` : ""}`;
}

/** Read the address: `{view, id, asked}`. */
export function route(hash = location.hash) {
  const [path, query = ""] = split(hash.replace(/^#\/?/, ""));
  const [view, ...rest] = path.split("/");
  let id;
  try {
    id = rest.length ? decodeURIComponent(rest.join("/")) : undefined;
  } catch {
    id = rest.join("/");
  }
  return { view, id, asked: new URLSearchParams(query) };
}

function split(text) {
  const place = text.indexOf("?");
  return place < 0 ? [text] : [text.slice(0, place), text.slice(place + 1)];
}

export function go(address, { replace = false, quiet = false } = {}) {
  if (replace) {
    history.replaceState(history.state, "", address);
    if (!quiet) dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = address;
  }
}
