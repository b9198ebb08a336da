// The service's answers. A failure is an `Trouble`, which says in plain words what went wrong and what to do.

const KEY = "tastemaker.key";

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
    if (value !== undefined && value !== null && value !== "") asked.append(name, value);
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
export const users = (at, search, limit, signal) => get("/api/page/users", { ...at, search, limit }, signal);
export const known = (at, signal) => get("/api/page/known", at, signal);
export const history = (at, id, signal) => get(`/api/v1/users/${part(id)}/history`, { ...at, details: true }, signal);

/** What the server counts, as the text that Prometheus reads. */
export async function metrics(signal) {
  const { answer, text } = await send("GET", "/metrics", { headers: { Accept: "text/plain" }, signal });
  if (!answer.ok) throw refusal(answer, {});
  return text;
}

/** A list for a user, for a basket, or for one of whom `{context, attributes, viewed}` is known, under the published rules and those of a trial. */
export function list(at, { user, basket = [], known = {}, k = 12, rules, why = true }, signal) {
  const body = { ...at, basket, ...known, k, why, details: true };
  if (user !== undefined) body.user = user;
  if (rules) body.rules = rules;
  if (body.version !== undefined) body.version = Number(body.version);
  return post("/api/v1/recommendations/basket", body, signal);
}

export const rules = (model, signal) => ask("GET", "/api/v1/rules", { query: { model }, signal });
export const publish = (model, body, etag) => ask("PUT", "/api/v1/rules", { query: { model }, body, headers: etag ? { "If-Match": etag } : {} });
