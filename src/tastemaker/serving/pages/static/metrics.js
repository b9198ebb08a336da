// What the server counts, as small charts. A link to /metrics would send no key, so the page asks for it.

import * as api from "./api.js";
import { h, s } from "./dom.js";
import * as format from "./format.js";

const EVERY = 5_000;
const KEPT = 60; // looks that a line holds
const BARS = 8;
let seen = []; // [{time, samples}], of this view

export async function metrics({ signal }) {
  const text = await api.metrics(signal);
  seen = [{ time: performance.now(), samples: read(text) }];
  const charts = h("div", { class: "charts" }, ...drawn());
  const raw = h("pre", { tabindex: 0, role: "region", "aria-label": "Metrics as text" }, text);
  const timer = setInterval(async () => {
    if (!charts.isConnected) return clearInterval(timer);
    try {
      const now = await api.metrics();
      raw.textContent = now;
      seen = [...seen, { time: performance.now(), samples: read(now) }].slice(-KEPT);
      charts.replaceChildren(...drawn());
    } catch { /* the next look may find it again */ }
    return undefined;
  }, EVERY);
  return {
    title: "Metrics",
    nodes: [
      h(
        "section",
        { class: "metrics" },
        h("h1", { tabindex: -1 }, "Metrics"),
        h("p", { class: "basis" }, "What this server has counted since it started; looked at every five seconds. Prometheus reads the same at ", h("code", {}, "/metrics"), ", with a key where the server has keys."),
        charts,
        h("details", {}, h("summary", { "data-focus": "raw" }, "As text"), raw),
      ),
    ],
  };
}

/** Samples of Prometheus's text: `[{name, labels, value}]`. */
export function read(text) {
  return text.split("\n").filter((line) => line && !line.startsWith("#")).flatMap((line) => {
    const [, name, inside, value] = line.match(/^([\w:]+)(?:\{(.*)\})? (\S+)/) ?? [];
    if (!name) return [];
    const labels = Object.fromEntries([...(inside ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, held]) => [key, held.replace(/\\(.)/g, "$1")]));
    return [{ name, labels, value: Number(value) }];
  });
}

const now = () => seen.at(-1).samples;
const of = (samples, name) => samples.filter((one) => one.name === name);
const sum = (samples) => samples.reduce((all, one) => all + one.value, 0);

/** Sums by a label, the greatest first. */
function by(name, label) {
  const sums = new Map();
  for (const one of of(now(), name)) sums.set(one.labels[label] ?? "", (sums.get(one.labels[label] ?? "") ?? 0) + one.value);
  return [...sums].filter(([, value]) => value > 0).sort(([, a], [, b]) => b - a).slice(0, BARS);
}

function drawn() {
  const requests = seen.map(({ time, samples }) => ({ time, value: sum(of(samples, "tastemaker_requests_total")) }));
  const rates = requests.slice(1).map((one, place) => (1000 * (one.value - requests[place].value)) / (one.time - requests[place].time));
  const failed = sum(of(now(), "tastemaker_requests_total").filter((one) => one.labels.status?.startsWith("5")));
  const ages = of(now(), "tastemaker_model_age_seconds").map((one) => [`${one.labels.model} ${one.labels.version}`, one.value / 86_400]);
  return [
    figure("Requests", format.count(requests.at(-1).value), rates.length ? `${rates.at(-1).toFixed(1)} a second` : "since the start", spark(rates)),
    figure("Answered with a failure of the server", format.count(failed), requests.at(-1).value ? `${((100 * failed) / requests.at(-1).value).toFixed(2)} % of all` : "", null),
    figure("Half are answered within", milliseconds(quantile(0.5)), `99 % within ${milliseconds(quantile(0.99))}`, null),
    bars("Requests by route", by("tastemaker_requests_total", "route").map(([route, value]) => [routeSaid(route), value]), format.count),
    bars("Requests by status", by("tastemaker_requests_total", "status"), format.count),
    bars("What lists were made from", by("tastemaker_fallbacks_total", "source"), format.count),
    bars("Age of versions", ages, ageSaid),
    bars("Unknown ids", by("tastemaker_unknown_ids_total", "kind"), format.count),
  ].filter(Boolean);
}

/** The quantile of all requests' times, from the histogram's buckets; the bound of the bucket where it lies. */
function quantile(share) {
  const bounds = new Map();
  for (const one of of(now(), "tastemaker_request_seconds_bucket")) {
    const bound = one.labels.le === "+Inf" ? Infinity : Number(one.labels.le);
    bounds.set(bound, (bounds.get(bound) ?? 0) + one.value);
  }
  const ordered = [...bounds].sort(([a], [b]) => a - b);
  const all = ordered.at(-1)?.[1] ?? 0;
  return all ? ordered.find(([, count]) => count >= share * all)[0] : undefined;
}

const milliseconds = (seconds) => (seconds === undefined ? "–" : seconds === Infinity ? "longer" : `${format.count(Math.round(10_000 * seconds) / 10)} ms`);

const routeSaid = (route) => (route === "unmatched" ? "no such address" : route.replace(":path}", "}"));
const ageSaid = (days) => (days < 1 / 24 ? "under an hour" : days < 2 ? format.many(Math.round(24 * days), "hour") : format.many(Math.round(days), "day"));

function figure(name, value, more, picture) {
  return h("div", { class: "chart" }, h("h2", {}, name), h("p", { class: "big" }, value), h("p", { class: "basis" }, more), picture);
}

function bars(name, values, said) {
  if (!values.length) return null;
  const most = Math.max(...values.map(([, value]) => value));
  return h(
    "div",
    { class: "chart" },
    h("h2", {}, name),
    h("ul", {}, ...values.map(([label, value]) => h("li", {}, h("span", { class: "label" }, format.short(label || "none", 60)), h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "fill", vars: { "--share": value / most } })), h("span", { class: "number" }, said(value))))),
  );
}

function spark(values) {
  if (values.length < 2) return null;
  const most = Math.max(...values, 1e-9);
  const points = values.map((value, place) => `${(100 * place) / (values.length - 1)},${30 - (28 * value) / most}`);
  return s("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" }, s("polyline", { points: points.join(" ") }));
}
