// The service's answers. A failure is an `Trouble`, which says in plain words what went wrong and what to do.

const KEY = "tastemaker.key";
const WAIT_FOR_TABS = 200; // milliseconds
const tabs = new BroadcastChannel("tastemaker"); // of this origin alone

/** Why there is no answer. */
export class Trouble extends Error {
  constructor(status, title, detail, facts = {}) {
    super(detail);
    this.status = status;
    this.title = title;
    this.facts = facts;
  }
}

const TITLES = {
  0: "The server does not answer",
  400: "The server does not understand the question",
  401: "This server needs a key",
  403: "This key may not do that",
  404: "Not found",
  412: "Somebody else changed the rules",
  413: "That is too much at once",
  422: "The server cannot do that",
  429: "Too many questions at once",
  503: "The server is busy",
  504: "The server took too long",
  507: "The server cannot write its files",
};

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

/** Ask the other tabs of this browser for the key that they hold; it is on no disk, and is gone with the last of them. */
export function inheritKey() {
  return new Promise((resolve) => {
    if (key.get()) return resolve(false);
    const heard = ({ data }) => {
      if (typeof data?.key !== "string" || !data.key) return;
      key.set(data.key);
      end(true);
    };
    const end = (found) => { clearTimeout(timer); tabs.removeEventListener("message", heard); resolve(found); };
    const timer = setTimeout(() => end(false), WAIT_FOR_TABS);
    tabs.addEventListener("message", heard);
    return tabs.postMessage({ wanted: true });
  });
}
tabs.addEventListener("message", ({ data }) => { if (data?.wanted && key.get()) tabs.postMessage({ key: key.get() }); });

/** Integers beyond 2^53 stay exact, as text; the API takes ids as text too. */
function exact(_, value, context) {
  if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")) {
    return context.source;
  }
  return value;
}

/** Ask; return `{answer, text}`, whatever the status. The key goes with it, which a browser's own links cannot do. */
async function send(method, path, { query = {}, body, headers = {}, signal } = {}) {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined && one !== null && one !== "") asked.append(name, one);
  }
  const sent = { Accept: "application/json", ...headers };
  if (key.get()) sent.Authorization = `Bearer ${key.get()}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const address = asked.size ? `${path}?${asked}` : path;
  try {
    const answer = await fetch(address, { method, headers: sent, body: body && JSON.stringify(body), signal, credentials: "omit" });
    return { answer, text: await answer.text() };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble(0, TITLES[0], "No connection to it. Is `tastemaker serve` running?");
  }
}

/** Ask; return `{content, etag}`. */
export async function ask(method, path, options = {}) {
  const { answer, text } = await send(method, path, options);
  let content = {};
  try {
    content = JSON.parse(text, exact);
  } catch {
    if (answer.ok) throw new Trouble(answer.status, "The answer makes no sense", "It is no JSON; does something stand between this page and the server?");
  }
  if (!answer.ok) throw refusal(answer, content);
  return { content, etag: answer.headers.get("ETag") };
}

const refusal = (answer, content) =>
  new Trouble(answer.status, TITLES[answer.status] ?? "The server made a mistake", content.detail ?? `It answered with status ${answer.status}.`, content);

const get = async (path, query, signal) => (await ask("GET", path, { query, signal })).content;
const post = async (path, body, signal) => (await ask("POST", path, { body, signal })).content;
const part = (id) => encodeURIComponent(String(id));

export const session = () => get("/api/page/session");
export const models = (signal) => get("/api/v1/models", {}, signal);
export const products = (at, search, limit, signal) => get("/api/v1/products", { ...at, search, limit }, signal);
export const product = (at, id, signal) => get(`/api/v1/products/${part(id)}`, at, signal);
export const neighbours = (at, id, by, k, signal) =>
  get(`/api/v1/products/${part(id)}/similar`, { ...at, k, similarity: by, details: true }, signal);
export const users = (at, search, limit, signal, segment) => get("/api/page/users", { ...at, search, limit, segment }, signal);
export const known = (at, signal) => get("/api/page/known", at, signal);
export const history = (at, id, signal) => get(`/api/v1/users/${part(id)}/history`, { ...at, details: true }, signal);

/** What the server counts, as the text that Prometheus reads. */
export async function metrics(signal) {
  const { answer, text } = await send("GET", "/metrics", { headers: { Accept: "text/plain" }, signal });
  if (!answer.ok) throw refusal(answer, {});
  return text;
}

/** A list for a user, for a basket, or for one of whom `{context, attributes, viewed}` is known, under the published rules, or under those of a trial in their place. */
export function list(at, { user, basket = [], known = {}, k = 12, rules, again, why = true }, signal) {
  const body = { ...at, basket, ...known, k, why, details: true };
  if (user !== undefined) body.user = user;
  if (again !== undefined) body.include_purchased = again;
  if (body.version !== undefined) body.version = Number(body.version);
  return rules ? post("/api/page/trial", { ...body, instead: rules }, signal) : post("/api/v1/recommendations/basket", body, signal);
}

export const rules = (model, signal) => get("/api/v1/rules", { model }, signal);
export const publish = async (model, body, mark) => (await ask("PUT", "/api/v1/rules", { query: { model }, body, headers: mark ? { "If-Match": mark } : {} })).content;
/** What rules would change, in the place of those in force, for some customers. */
export const effect = async (at, rules, customers, signal) => (await ask("POST", "/api/v1/rules/effect", { query: at, body: { rules, customers }, signal })).content;
export const published = async (model, signal) => (await get("/api/v1/rules/history", { model }, signal)).published;
/** What the model's experiment found so far, and what the day brought. */
export const experiment = (model, signal) => get("/api/v1/experiment", { model }, signal);
export const browse = (at, asked, signal) => get("/api/page/browse", { ...at, ...asked }, signal);

/** All that a page of the catalogue is a part of, as a file. */
export async function browseFile(at, asked) {
  const { answer, text } = await send("GET", "/api/page/browse.csv", { query: { ...at, ...asked }, headers: { Accept: "text/csv" } });
  if (!answer.ok) throw refusal(answer, JSON.parse(text));
  return text;
}
