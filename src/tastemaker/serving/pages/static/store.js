// What the page knows between views: the models, the version shown, the basket, the published rules and those on trial.

import * as api from "./api.js";
import { text } from "./format.js";

const BASKET = "tastemaker.basket";
const TRIAL = "tastemaker.trial";
const MOST = 200;
const STEPS = 50;

const changed = new EventTarget();

export const state = {
  models: [],
  model: undefined,
  version: undefined, // a number where one was chosen; otherwise what the server answers with
  basket: [],
  published: { rules: {}, mark: undefined, unknown: [], idle_pins: [] },
  trial: undefined, // {base, rules}: the rules as they would be published, and those that they were made from
  former: [], // the trials before this one, for undo
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
  state.trial = trial?.rules && trial.base ? trial : undefined;
  state.former = [];
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
  state.published = await api.rules(state.model);
  settle();
}

const KEYS = ["allow", "deny", "where", "minimum_price", "at_most", "pin", "include_purchased", "rules"];
const alike = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const tidy = (rules) => Object.fromEntries(KEYS.filter((key) => {
  const value = rules[key];
  return value !== undefined && value !== null && (key === "allow" || typeof value !== "object" || Object.keys(value).length > 0);
}).map((key) => [key, rules[key]]));

/** The rules as they would be published: those on trial, otherwise those in force. */
export const wanted = () => state.trial?.rules ?? state.published.rules;
export const pins = () => wanted().pin ?? [];
export const bans = () => wanted().deny ?? [];
export const named = () => wanted().rules ?? [];
const publishedPins = () => state.published.rules.pin ?? [];
const publishedBans = () => state.published.rules.deny ?? [];
export const isPinned = (id) => pins().some(same(id));
export const isBanned = (id) => bans().some(same(id));
export const mayPublish = () => state.role === "admin";
export const canUndo = () => state.former.length > 0;

/** A trial that says what is published anyway is none; one that began before somebody else published goes on from theirs. */
function settle() {
  if (state.trial && !alike(state.trial.base, tidy(state.published.rules))) {
    state.trial = { base: tidy(state.published.rules), rules: merged(state.trial, tidy(state.published.rules)) };
  }
  if (state.trial && alike(state.trial.rules, state.trial.base)) state.trial = undefined;
  write(TRIAL, state.trial);
}

/** What a trial changed, done to rules that are in force now. */
function merged({ base, rules }, theirs) {
  const found = { ...theirs };
  for (const key of KEYS) {
    if (alike(rules[key], base[key])) continue;
    if (["deny", "pin", "rules"].includes(key)) {
      const has = (list, one) => (list ?? []).some((other) => alike(other, one));
      const kept = (theirs[key] ?? []).filter((one) => !has(base[key], one) || has(rules[key], one));
      const added = (rules[key] ?? []).filter((one) => !has(base[key], one) && !has(kept, one));
      const all = [...kept, ...added];
      found[key] = alike(theirs[key], base[key]) ? rules[key] : all;
    } else found[key] = rules[key];
  }
  return tidy(found);
}

/** Put other rules on trial; what was there before can be had back. */
export function setRules(rules) {
  state.former.push(state.trial);
  if (state.former.length > STEPS) state.former.shift();
  state.trial = { base: tidy(state.published.rules), rules: tidy(rules) };
  settle();
  tell();
}

export function undo() {
  state.trial = state.former.pop();
  settle();
  tell();
}

export const setTrial = (pin, deny) => setRules({ ...wanted(), pin, deny });
export const setNamed = (rules) => setRules({ ...wanted(), rules });

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
  state.former = [];
  write(TRIAL, undefined);
  tell();
}

/** What a trial changes: `{pinned, unpinned, banned, unbanned, moved, made, gone, others}`. */
export function changes() {
  const without = (some, others) => some.filter((one) => !others.some(same(one)));
  const moved = !without(pins(), publishedPins()).length && !without(publishedPins(), pins()).length
    && pins().some((id, place) => !same(id)(publishedPins()[place]));
  const lacks = (list, one) => !list.some((other) => alike(other, one));
  const before = state.published.rules.rules ?? [];
  return {
    pinned: without(pins(), publishedPins()),
    unpinned: without(publishedPins(), pins()),
    banned: without(bans(), publishedBans()),
    unbanned: without(publishedBans(), bans()),
    moved,
    made: named().filter((one) => lacks(before, one)),
    gone: before.filter((one) => lacks(named(), one)),
    others: KEYS.filter((key) => !["pin", "deny", "rules"].includes(key) && !alike(wanted()[key], tidy(state.published.rules)[key])),
  };
}

/** The rules that lists on the page are made under, in the place of those in force; nothing without a trial. */
export const trialRules = () => state.trial?.rules;

/** A trial as a part of an address, and back. */
export const trialAsText = () => btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(state.trial.rules)))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

export function takeTrial(text) {
  let rules;
  try {
    const letters = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    rules = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(letters, (letter) => letter.codePointAt(0))));
  } catch {
    rules = undefined;
  }
  if (!rules || typeof rules !== "object" || Array.isArray(rules)) throw new api.Trouble(400, "The trial in this address is damaged", "It was cut or changed on its way; ask for the link again.");
  state.trial = { base: tidy(state.published.rules), rules: tidy(rules) };
  settle();
}

export async function publish() {
  state.published = await api.publish(state.model, wanted(), state.published.mark);
  state.trial = undefined;
  state.former = [];
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
