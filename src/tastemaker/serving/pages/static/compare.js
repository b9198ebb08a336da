// Two lists side by side: of two versions, or of one with and without the rules on trial. Lines join what is in both.

import * as api from "./api.js";
import { notice, row } from "./cards.js";
import { h, hidden, icon, own, s, say } from "./dom.js";
import * as format from "./format.js";
import { go, link } from "./routes.js";
import * as store from "./store.js";

const LENGTH = 20;
const ROW = 72; // pixels, as in the style sheet
const TRIAL = "t";

export async function compare({ asked, signal }) {
  const subject = await subjectOf(asked, signal);
  if (!subject) return { title: "Compare", nodes: [h("h1", { tabindex: -1 }, "Compare"), notice("This model knows no customer to compare lists of.")] };
  const sides = sidesOf(asked);
  const [catalogue, title, ...lists] = await Promise.all([
    store.parts(), titleOf(subject, signal), ...sides.map((side) => listOf(subject, side, signal)),
  ]);
  const [before, after] = lists.map((list) => list.map((one) => store.described(one, catalogue)));
  const moves = movesOf(before, after);
  const line = summary(moves, before, after);
  say(line);
  return {
    title: "Compare",
    nodes: [
      h(
        "div",
        { class: "heading" },
        h("h1", { tabindex: -1 }, "Compare"),
        h("div", { class: "ways" }, h("a", { class: "button quiet", href: link("compare", undefined, choice(asked)), "data-focus": "random" }, icon("dice"), "Another customer")),
      ),
      h("p", { class: "lead" }, title),
      h(
        "div",
        { class: "sides" },
        select("a", "Before", sides[0], asked),
        h("span", { class: "versus", "aria-hidden": "true" }, "→"),
        select("b", "After", sides[1], asked),
      ),
      h("p", { class: "basis", id: "moves" }, line),
      h(
        "div",
        { class: "compared" },
        h("ol", { class: "side before", "aria-label": `Before: ${nameOfSide(sides[0])}` }, ...before.map((one, place) => sideRow(one, place, moves.gone.has(String(one.id)) ? ["gone", "gone"] : null))),
        slopes(before, after, moves),
        h("ol", { class: "side after", "aria-label": `After: ${nameOfSide(sides[1])}` }, ...after.map((one, place) => sideRow(one, place, moves.marks.get(String(one.id))))),
      ),
    ],
  };
}

const choice = (asked) => ({ a: asked.get("a"), b: asked.get("b") });

async function subjectOf(asked, signal) {
  if (asked.has("user")) return { user: asked.get("user") };
  if (asked.has("product")) return { product: asked.get("product") };
  if (asked.has("p")) return { p: asked.getAll("p") };
  const { users } = await api.users(store.at(), "", 1, signal);
  if (!users.length) return undefined;
  const values = { user: users[0].user, ...choice(asked) };
  go(link("compare", undefined, values), { replace: true });
  throw new DOMException("the address was completed", "AbortError");
}

/** Which versions, and whether with the trial: from the address, otherwise the last two, or the trial where there is one. */
function sidesOf(asked) {
  const numbers = store.servedModel().versions.map((one) => one.version);
  const shown = store.version();
  const former = numbers.filter((one) => one < shown).at(-1) ?? numbers.find((one) => one !== shown) ?? shown;
  const otherwise = store.state.trial ? [{ version: shown, trial: false }, { version: shown, trial: true }] : [{ version: former, trial: false }, { version: shown, trial: false }];
  return ["a", "b"].map((name, place) => {
    const text = asked.get(name) ?? "";
    const number = Number(text.replace(TRIAL, ""));
    return numbers.includes(number) ? { version: number, trial: text.endsWith(TRIAL) && Boolean(store.state.trial) } : otherwise[place];
  });
}

async function titleOf(subject, signal) {
  if (subject.user !== undefined) return ["Lists for ", h("a", { href: link("customer", subject.user) }, "customer ", own(format.short(String(subject.user), 200)))];
  const ids = subject.p ?? [subject.product];
  const products = await store.lookUp(ids.slice(0, 8), signal);
  const names = products.map((one, place) => [place ? ", " : "", h("a", { href: link("product", one.id) }, own(format.short(store.nameOf(one), 80)))]);
  return [subject.p ? "Lists for a basket of " : "Neighbours of ", ...names, ids.length > 8 ? ` and ${ids.length - 8} more` : ""];
}

async function listOf(subject, side, signal) {
  const at = { model: store.state.model, version: side.version };
  const rules = side.trial ? store.trialRules() : undefined;
  try {
    if (subject.product !== undefined) {
      const near = await api.neighbours(at, subject.product, "dot", LENGTH + (side.trial ? store.bans().length : 0), signal);
      return near.similar.filter((one) => !side.trial || !store.isBanned(one.product)).slice(0, LENGTH);
    }
    const asked = subject.user === undefined ? { basket: subject.p } : { user: subject.user };
    return (await api.list(at, { ...asked, k: LENGTH, rules, why: false }, signal)).recommendations;
  } catch (trouble) {
    if (trouble.status === 404) return [];
    throw trouble;
  }
}

function movesOf(before, after) {
  const places = new Map(before.map((one, place) => [String(one.id), place]));
  const marks = new Map();
  const gone = new Set(places.keys());
  const counts = { stayed: 0, up: 0, down: 0, fresh: 0 };
  after.forEach((one, place) => {
    const id = String(one.id);
    const from = places.get(id);
    gone.delete(id);
    if (from === undefined) { marks.set(id, ["new", "new"]); counts.fresh += 1; }
    else if (from === place) counts.stayed += 1;
    else {
      const up = from > place;
      marks.set(id, [up ? "up" : "down", String(Math.abs(from - place))]);
      counts[up ? "up" : "down"] += 1;
    }
  });
  return { places, marks, gone, counts };
}

function summary({ counts, gone }, before, after) {
  const both = after.length - counts.fresh;
  if (before.length && both === after.length && !counts.up && !counts.down) return `Both lists are the same ${format.many(after.length, "product")}.`;
  return `${both} of ${after.length} in both: ${counts.stayed} at the same place, ${counts.up} up, ${counts.down} down. ${counts.fresh} new, ${gone.size} gone.`;
}

function sideRow(product, place, mark) {
  const [kind, text] = mark ?? [];
  const said = { up: `up by ${text}`, down: `down by ${text}`, new: "new", gone: "gone" }[kind];
  const shown = { up: `↑ ${text}`, down: `↓ ${text}`, new: "new", gone: "gone" }[kind];
  return row(product, {
    rank: place + 1,
    class: kind ?? "stayed",
    end: kind ? h("span", { class: `move ${kind}` }, h("span", { "aria-hidden": "true" }, shown), hidden(said)) : null,
  });
}

function slopes(before, after, { places, marks, gone }) {
  const height = ROW * Math.max(before.length, after.length, 1);
  const middle = (place) => ROW * place + ROW / 2;
  const lines = after.flatMap((one, place) => {
    const from = places.get(String(one.id));
    if (from === undefined) return [s("circle", { class: "new", cx: 94, cy: middle(place), r: 3.5 })];
    const kind = marks.get(String(one.id))?.[0] ?? "stayed";
    return [s("path", { class: kind, d: `M4 ${middle(from)} C 50 ${middle(from)} 50 ${middle(place)} 96 ${middle(place)}` })];
  });
  const ends = before.flatMap((one, place) => (gone.has(String(one.id)) ? [s("circle", { class: "gone", cx: 6, cy: middle(place), r: 3.5 })] : []));
  return s("svg", { class: "slopes", viewBox: `0 0 100 ${height}`, height, preserveAspectRatio: "none", "aria-hidden": "true" }, ...lines, ...ends);
}

const value = (side) => `${side.version}${side.trial ? TRIAL : ""}`;
const nameOfSide = (side) => `version ${side.version}${side.trial ? " with the rules on trial" : ""}`;

function select(name, label, side, asked) {
  const { versions, labels, default: current } = store.servedModel();
  const options = versions.map((one) => one.version).reverse().flatMap((version) => [
    { version, trial: false },
    ...(store.state.trial ? [{ version, trial: true }] : []),
  ]);
  const notes = (version) => [version === current ? "served" : null, ...Object.entries(labels ?? {}).filter(([, one]) => one === version).map(([text]) => text)].filter(Boolean);
  const change = (event) => {
    const values = Object.fromEntries(["user", "product", "a", "b"].map((key) => [key, asked.get(key)]));
    values.p = asked.getAll("p");
    values[name] = event.target.value;
    go(link("compare", undefined, values));
  };
  return h(
    "label",
    { class: "field" },
    h("span", {}, label),
    h(
      "select",
      { name, "data-focus": `side:${name}`, on: { change } },
      ...options.map((one) => {
        const said = notes(one.version);
        return h("option", { value: value(one), selected: value(one) === value(side) }, `Version ${one.version}${said.length ? ` (${said.join(", ")})` : ""}${one.trial ? " + trial rules" : ""}`);
      }),
    ),
  );
}
