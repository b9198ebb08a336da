// What the page knows between views: the models, the version shown, the basket, the published rules and those on trial.

import * as api from "./api.js";
import { text } from "./format.js";

const BASKET = "tastemaker.basket";
const TRIAL = "tastemaker.trial";
const MOST = 200;

const changed = new EventTarget();

export const state = {
  models: [],
  model: undefined,
  version: undefined, // a number where one was chosen; otherwise what the server answers with
  basket: [],
  published: { rules: {}, etag: undefined, unknown: [] },
  trial: undefined, // {pin, deny} as they would be published
  keys: false,
  role: "read",
};

/** Call a function after each change of the basket, the rules or the key. */
export const onChange = (heard) => changed.addEventListener("change", heard);
const tell = () => changed.dispatchEvent(new Event("change"));

/** What is asked: the model, and a version if one was chosen. */
export const at = () => ({ model: state.model, version: state.version });
export const servedModel = () => state.models.find((one) => one.name === state.model);
export const version = () => state.version ?? servedModel()?.default;

/** Read who is there and what is served. */
export async function open() {
  const [session, served] = await Promise.all([api.session(), api.models()]);
  state.keys = session.keys;
  state.role = session.role;
  state.models = served.models.filter((one) => one.versions.length);
  if (!state.models.length) throw new api.Trouble(503, "No model is ready", "The server has no version to answer with yet; its log says why.");
}

/** Choose a model and a version; unknown ones fall back to what is served. */
export async function choose(model, wanted) {
  const found = state.models.find((one) => one.name === model) ?? state.models[0];
  const moved = state.model !== found.name;
  state.model = found.name;
  const number = Number(wanted);
  state.version = found.versions.some((one) => one.version === number) && number !== found.default ? number : undefined;
  if (!moved) return;
  state.basket = read(BASKET, []).filter((id) => ["string", "number"].includes(typeof id)).slice(0, MOST);
  const trial = read(TRIAL, undefined);
  state.trial = trial && Array.isArray(trial.pin) && Array.isArray(trial.deny) ? trial : undefined;
  await readRules();
}

// The catalogue ------------------------------------------------------------------------------------------------

const catalogues = new Map();
const abouts = new Map();

/** Which columns play which part, for the version shown. */
export function parts(where = at()) {
  const name = `${where.model}/${where.version ?? version()}`;
  if (!catalogues.has(name)) {
    const asked = api.products(where, "", 1).then((found) => ({ parts: found.parts, columns: found.columns }));
    asked.catch(() => catalogues.delete(name));
    catalogues.set(name, asked);
  }
  return catalogues.get(name);
}

/** What the catalogue says, by the parts it plays; remembered for the basket and for reasons. */
export function described(one, { parts: named }) {
  const about = one.about ?? abouts.get(`${state.model}:${one.product}`) ?? {};
  if (one.about) abouts.set(`${state.model}:${one.product}`, one.about);
  const value = (part) => (named[part] === undefined ? undefined : about[named[part]]);
  const shown = new Set(Object.values(named));
  return {
    id: one.product,
    name: text(value("name")).trim() || undefined,
    price: value("price"),
    category: text(value("category")).trim() || undefined,
    brand: text(value("brand")).trim() || undefined,
    image: value("image"),
    stock: value("stock"),
    rest: Object.entries(about).filter(([column]) => !shown.has(column)),
  };
}

/** What is known of some ids; what is not is asked for. Unknown products come back with `unknown`. */
export async function lookUp(ids, signal) {
  const catalogue = await parts();
  return Promise.all(
    ids.map(async (id) => {
      if (abouts.has(`${state.model}:${id}`)) return described({ product: id }, catalogue);
      try {
        const found = await api.product(at(), id, signal);
        return described(found.products[0], catalogue);
      } catch (trouble) {
        if (trouble.status !== 404) throw trouble;
        return { id, rest: [], unknown: true };
      }
    }),
  );
}

export const nameOf = (one) => one.name ?? `Product ${one.id}`;

// The basket ---------------------------------------------------------------------------------------------------

const same = (one) => (other) => String(one) === String(other);
export const inBasket = (id) => state.basket.some(same(id));

export function setBasket(ids) {
  const kept = [];
  for (const id of ids) if (!kept.some(same(id)) && kept.length < MOST) kept.push(id);
  if (kept.length === state.basket.length && kept.every((id, place) => same(id)(state.basket[place]))) return;
  state.basket = kept;
  write(BASKET, state.basket);
  tell();
}

export function toggleBasket(id) {
  setBasket(inBasket(id) ? state.basket.filter((one) => !same(id)(one)) : [...state.basket, id]);
}

// The rules ----------------------------------------------------------------------------------------------------

export async function readRules() {
  const { content, etag } = await api.rules(state.model);
  state.published = { ...content, etag };
  settle();
}

const publishedPins = () => state.published.rules.pin ?? [];
const publishedBans = () => state.published.rules.deny ?? [];
export const pins = () => state.trial?.pin ?? publishedPins();
export const bans = () => state.trial?.deny ?? publishedBans();
export const isPinned = (id) => pins().some(same(id));
export const isBanned = (id) => bans().some(same(id));
export const mayPublish = () => state.role === "admin";

/** A trial that says what is published anyway is none. */
function settle() {
  const equal = (some, others) => some.length === others.length && some.every((one, place) => same(one)(others[place]));
  if (state.trial && equal(state.trial.pin, publishedPins()) && equal(state.trial.deny, publishedBans())) state.trial = undefined;
  write(TRIAL, state.trial);
}

export function setTrial(pin, deny) {
  state.trial = { pin, deny };
  settle();
  tell();
}

export function togglePin(id) {
  const pin = isPinned(id) ? pins().filter((one) => !same(id)(one)) : [...pins(), id];
  setTrial(pin, bans().filter((one) => !same(id)(one)));
}

export function toggleBan(id) {
  const deny = isBanned(id) ? bans().filter((one) => !same(id)(one)) : [...bans(), id];
  setTrial(pins().filter((one) => !same(id)(one)), deny);
}

export function endTrial() {
  state.trial = undefined;
  write(TRIAL, undefined);
  tell();
}

/** What a trial changes: `{pinned, unpinned, banned, unbanned}`, ids each. */
export function changes() {
  const without = (some, others) => some.filter((one) => !others.some(same(one)));
  const moved = !without(pins(), publishedPins()).length && !without(publishedPins(), pins()).length
    && pins().some((id, place) => !same(id)(publishedPins()[place]));
  return {
    pinned: without(pins(), publishedPins()),
    unpinned: without(publishedPins(), pins()),
    banned: without(bans(), publishedBans()),
    unbanned: without(publishedBans(), bans()),
    moved,
  };
}

/** The rules that a request carries beside the published ones. What a trial takes away shows only once it is published. */
export function trialRules() {
  if (!state.trial) return undefined;
  const { pinned, banned, moved } = changes();
  const rules = {};
  if (pinned.length || moved) rules.pin = pins();
  if (banned.length) rules.deny = banned;
  return Object.keys(rules).length ? rules : undefined;
}

/** All rules as they would be published. */
export function wanted() {
  const { pin: _, deny: __, ...others } = state.published.rules;
  const found = { ...others };
  if (pins().length) found.pin = pins();
  if (bans().length) found.deny = bans();
  return found;
}

export async function publish() {
  const { content, etag } = await api.publish(state.model, wanted(), state.published.etag);
  state.published = { ...content, etag };
  state.trial = undefined;
  write(TRIAL, undefined);
  tell();
}

/** Take a key; the server says what it may do. */
export async function useKey(text) {
  const before = api.key.get();
  api.key.set(text.trim());
  try {
    const session = await api.session();
    state.role = session.role;
    state.keys = session.keys;
  } catch (trouble) {
    api.key.set(before);
    throw trouble;
  }
}

// One browser tab's memory -------------------------------------------------------------------------------------

function read(name, otherwise) {
  try {
    const held = JSON.parse(sessionStorage.getItem(`${name}.${state.model}`));
    return held ?? otherwise;
  } catch {
    return otherwise;
  }
}

function write(name, value) {
  try {
    if (value === undefined) sessionStorage.removeItem(`${name}.${state.model}`);
    else sessionStorage.setItem(`${name}.${state.model}`, JSON.stringify(value));
  } catch { /* no room, or not allowed: the page forgets at the next load */ }
}
