// Numbers and the shop's own values as people read them.

const whole = new Intl.NumberFormat("en");
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const count = (number) => whole.format(number);

export function many(number, one, more = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : more}`;
}

/** A score: three figures that matter. */
export function score(number) {
  if (!Number.isFinite(number)) return "–";
  const size = Math.abs(number);
  return number.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2).replace("-", "−");
}

export const percent = (share) => `${Math.round(100 * share)} %`;

export function price(value) {
  if (typeof value === "number") return Number.isFinite(value) ? money.format(value) : "";
  return value === undefined || value === null ? "" : short(text(value), 40);
}

/** Any value of a catalogue as text. */
export function text(value) {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "";
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

export function short(value, most) {
  return value.length > most ? `${[...value.slice(0, most)].join("")}…` : value;
}

export function day(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime())
    ? ""
    : date.toLocaleString("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
}
