// The experiment that runs, or the last: what it found so far, how sure that is, and what the day brought.

import * as api from "./api.js";
import { heading } from "./cards.js";
import { h, hidden, own, s } from "./dom.js";
import * as format from "./format.js";
import * as store from "./store.js";

const METRICS = ["click rate", "conversion", "revenue", "margin"];
const SHARES = ["click rate", "conversion"]; // of visitors; the others are sums of money a visitor
const [WIDE, HIGH, EDGE] = [640, 220, 8];
const DAY = 86_400_000_000; // microseconds, as the API's moments are

export async function experiment({ signal }) {
  const answer = await api.experiment(store.state.model, signal);
  const one = answer.experiment;
  return {
    title: "Experiment",
    nodes: [
      h(
        "section",
        { class: "experiment" },
        h("h1", { tabindex: -1 }, one ? ["Experiment ", own(one.name)] : "No experiment"),
        one ? h("p", { class: "lead", id: "verdict" }, answer.report ? own(answer.report.verdict) : "There are no figures yet.") : none(answer.model),
        answer.problem ? h("p", { class: "wrong" }, own(answer.problem)) : null,
        answer.report || answer.today ? h("p", { class: "basis" }, `Computed ${ageSaid(answer.age_seconds)}, at ${moment(answer.at)} UTC. Every outcome of a visitor counts, whether or not a list led to it.`) : null,
      ),
      one ? facts(one, answer.report) : null,
      answer.report ? found(answer.report) : null,
      answer.today ? day(answer) : null,
    ],
  };
}

function none(model) {
  const command = `tastemaker experiment start MODELS/${model} --name spring --control stable --treatment canary --share 50`;
  return [
    h("p", { class: "lead" }, "Two versions side by side, and what each of them brings a visitor. Give both labels with ", h("code", {}, "tastemaker promote"), ", then start one:"),
    h("pre", { tabindex: 0, role: "region", "aria-label": "The command that starts an experiment" }, command),
  ];
}

function facts(one, report) {
  const ended = one.ended !== null;
  const days = Math.max(0, ((one.ended ?? report?.at ?? one.began) - one.began) / DAY);
  const arms = [["control", `${one.control}, version ${one.versions[0]}`], ["treatment", `${one.treatment}, version ${one.versions[1]}`], ["holdout", "best sellers"]].filter(([arm]) => arm in one.shares);
  return h(
    "section",
    { class: "experiment" },
    heading(2, "What is compared"),
    h("p", { class: "basis" }, `Began ${moment(one.began)} UTC, ${ended ? "ran" : "runs"} ${format.many(Math.floor(days), "day")}; a visitor counts for ${daysSaid(one.window / DAY)} from the first list. Planned for ${format.count(one.visitors)} visitors.`, ended ? [" It ended ", moment(one.ended), ": ", own(one.why), "."] : null),
    table(
      "The arms",
      ["arm", "shows", "share", "visitors", "of them counted"],
      arms.map(([arm, shows]) => [arm, own(shows), share(one.shares[arm]), report ? format.count(report.assigned[arm]) : "–", report ? format.count(report.counted[arm]) : "–"]),
    ),
  );
}

function found(report) {
  const { experiment: one, differences } = report;
  const power = report.needed === null ? "" : ` An effect of ${number(100 * report.effect)} % in ${one.metric} takes about ${format.many(report.needed, "visitor")}.`;
  return h(
    "section",
    { class: "experiment" },
    heading(2, "What the treatment brings a visitor"),
    compared("Treatment against control", differences, ["control", "treatment"], one.metric),
    Object.keys(report.over_holdout).length ? compared("Control against best sellers", report.over_holdout, ["holdout", "control"]) : null,
    h("p", { class: "basis" }, "The intervals are of 95 % and hold at every look: look as often as you like.", power),
    h("p", { class: report.ratio !== null && report.ratio < 0.001 ? "wrong" : "basis" }, `Check of the assignment: p = ${number(report.ratio)} against the shares asked for${report.ratio !== null && report.ratio < 0.001 ? "; an arm loses visitors, trust nothing else" : ""}.`),
    narrowing(report),
  );
}

function compared(caption, differences, sides, decides) {
  return table(
    caption,
    ["a visitor", ...sides, "difference", "95 %, at every look"],
    METRICS.map((metric) => {
      const one = differences[metric];
      const interval = one.low === null ? "too early" : `${value(metric, one.low, true)} to ${value(metric, one.high, true)}`;
      const [from, to] = [one.control, one.treatment].map((mean) => value(metric, mean));
      return [metric === decides ? h("strong", {}, metric, hidden(", which decides")) : metric, from, to, value(metric, one.difference, true), interval];
    }),
    sides[1] === "treatment" ? { "data-metrics": true } : {},
  );
}

/** The estimate and its interval by day: the interval narrows around the estimate. */
function narrowing(report) {
  const { metric } = report.experiment;
  const looks = report.looks.map((one) => ({ day: one.day, ...one[metric] })).filter((one) => one.low !== null && one.difference !== null);
  if (!looks.length) return h("p", { class: "basis" }, "The picture of the interval by day begins once both arms have enough visitors.");
  const last = looks.at(-1);
  const size = Math.max(...looks.slice(Math.floor(looks.length / 4)).flatMap((one) => [Math.abs(one.low), Math.abs(one.high)]), 1e-12); // the first days' would hide the others'
  const x = (place) => (looks.length === 1 ? WIDE / 2 : EDGE + ((WIDE - 2 * EDGE) * place) / (looks.length - 1));
  const y = (height) => HIGH / 2 - (Math.max(-1, Math.min(1, height / size)) * (HIGH / 2 - EDGE));
  const line = (name) => looks.map((one, place) => `${x(place)},${y(one[name])}`);
  const said = `The difference in ${metric} by day: ${value(metric, looks[0].low, true)} to ${value(metric, looks[0].high, true)} on ${looks[0].day}, ${value(metric, last.low, true)} to ${value(metric, last.high, true)} on ${last.day}.`;
  return h(
    "figure",
    { class: "narrowing" },
    h("figcaption", {}, `The difference in ${metric} and its interval, by day`),
    s(
      "svg",
      { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": said },
      s("polygon", { class: "band", points: [...line("low"), ...line("high").reverse()].join(" ") }),
      looks.map((one, place) => s("line", { class: "whisker", x1: x(place), x2: x(place), y1: y(one.low), y2: y(one.high) })),
      s("line", { class: "zero", x1: 0, x2: WIDE, y1: HIGH / 2, y2: HIGH / 2 }),
      s("polyline", { class: "estimate", points: line("difference").join(" ") }),
      s("circle", { class: "now", cx: x(looks.length - 1), cy: y(last.difference), r: 5 }),
    ),
    h("p", { class: "ends", "aria-hidden": "true" }, h("span", {}, looks[0].day), h("span", {}, `line at 0; top ${value(metric, size, true)}, foot ${value(metric, -size, true)}`), h("span", {}, last.day)),
    h("details", {}, h("summary", { "data-focus": "by-day" }, "As a table"), table("By day", ["day", "difference", "from", "to"], looks.map((one) => [one.day, ...["difference", "low", "high"].map((name) => value(metric, one[name], true))]))),
  );
}

function day(answer) {
  const rows = Object.entries(answer.today);
  return h(
    "section",
    { class: "experiment" },
    heading(2, "Today"),
    table(
      "Since midnight UTC, by the outcomes that were posted",
      ["arm", "visitors", "lists", "shown", "clicked", "baskets", "bought", "revenue"],
      rows.map(([arm, one]) => [arm === "all" ? "all visitors" : arm, ...["visitors", "lists", "shown", "clicked", "basket", "bought"].map((name) => format.count(one[name])), format.price(one.revenue)]),
    ),
  );
}

function table(caption, names, rows, props = {}) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      props,
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, first), ...rest.map((cell) => h("td", {}, cell))))),
    ),
  );
}

const daysSaid = (days) => `${number(days)} ${days === 1 ? "day" : "days"}`;
const number = (one) => (one === null ? "–" : String(Number(one.toPrecision(3))));
const share = (part) => `${number(100 * part)} %`;

/** A metric's value: shares of visitors in percent, and differences of shares in percentage points. */
function value(metric, one, signed = false) {
  if (one === null) return "–";
  const sign = signed && one > 0 ? "+" : "";
  const figures = String(Number((SHARES.includes(metric) ? 100 * one : one).toPrecision(3))).replace("-", "−");
  return `${sign}${figures}${SHARES.includes(metric) ? (signed ? " pp" : " %") : ""}`;
}

const ageSaid = (seconds) => (seconds < 2 ? "just now" : seconds < 120 ? `${format.many(Math.round(seconds), "second")} ago` : `${format.many(Math.round(seconds / 60), "minute")} ago`);
const moment = (microseconds) => new Date(microseconds / 1000).toISOString().slice(0, 16).replace("T", " ");
