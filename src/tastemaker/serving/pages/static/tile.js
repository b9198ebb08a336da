// The picture of a product: the catalogue's, or a drawn tile: its colours are those of its category, its motif and letters its own.

import { h, s } from "./dom.js";

const DATA = /^data:image\/(png|jpe?g|gif|webp|avif|svg\+xml)[;,]/i;
const LONGEST = 2_000_000;

/** Return the address of a picture that is safe to show in an `img`, or `undefined`. */
export function pictureAddress(value) {
  if (typeof value !== "string" || value.length > LONGEST) return undefined;
  const address = value.trim();
  if (DATA.test(address)) return address;
  try {
    const url = new URL(address);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** Draw a product; `alt` is empty where its name stands beside the picture. */
export function picture(product, { alt = "", eager = false } = {}) {
  const frame = h("span", { class: "tile", vars: { "--hue": hue(product) } }, drawn(product));
  const address = pictureAddress(product.image);
  if (!address) {
    if (alt) frame.append(h("span", { class: "hidden" }, alt));
    return frame;
  }
  const image = h("img", {
    src: address,
    alt,
    loading: eager ? "eager" : "lazy",
    decoding: "async",
    referrerpolicy: "no-referrer",
    width: 400,
    height: 500,
    on: { error: () => image.remove(), load: () => image.classList.add("there") },
  });
  frame.append(image);
  return frame;
}

/** A number from a text, the same in every browser (FNV-1a). */
export function hash(text) {
  let number = 0x811c9dc5;
  for (const letter of String(text).slice(0, 500)) {
    number = Math.imul(number ^ letter.codePointAt(0), 0x01000193);
  }
  number = Math.imul(number ^ (number >>> 15), 0x2c1b3c6d);
  return (number ^ (number >>> 12)) >>> 0;
}

const kind = (product) => hash(product.category ?? product.brand ?? `:${String(product.id).slice(-2)}`);
const hue = (product) => (kind(product) * 137.508 + (hash(product.id) % 41) - 20 + 360) % 360;

/** The first letters of the first two words of a name, or of an id. */
function letters(product) {
  const words = String(product.name ?? product.id).match(/[\p{L}\p{N}]+/gu) ?? [];
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}

function drawn(product) {
  const own = hash(product.id);
  const motif = MOTIFS[(own >>> 25) % MOTIFS.length];
  const numbers = (place) => ((own >>> (place * 5)) & 31) / 31;
  return s(
    "svg",
    { viewBox: "0 0 80 100", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" },
    s("rect", { class: "t0", width: 80, height: 100 }),
    ...motif(numbers),
    s("text", { class: "letters", x: 6, y: 95 }, letters(product)),
  );
}

const range = (length) => Array.from({ length }, (_, place) => place);

const MOTIFS = [
  // Suns
  (n) => [
    s("circle", { class: "t1", cx: 40, cy: 46 + 10 * n(0), r: 24 + 6 * n(1) }),
    s("path", { class: "t2", d: `M0 ${62 + 12 * n(2)} Q 40 ${48 + 30 * n(3)} 80 ${62 + 12 * n(4)} V 100 H 0 Z` }),
  ],
  // Arches
  (n) => range(3).map((place) =>
    s("path", {
      class: `t${(place % 2) + 1}`,
      d: arch(40, 92, 34 - 10 * place, 78 - 18 * place - 8 * n(place)),
    })),
  // Stripes
  (n) => range(5).map((place) =>
    s("rect", {
      class: `t${(place % 2) + 1}`,
      x: -30 + 26 * place + 10 * n(0), y: -20, width: 10 + 8 * n(1), height: 150,
      transform: `rotate(${-24 + 48 * n(2)} 40 50)`,
    })),
  // Waves
  (n) => range(4).map((place) => {
    const y = 22 + 20 * place;
    const swing = 8 + 8 * n(place);
    return s("path", {
      class: `t${(place % 2) + 1}`,
      d: `M0 ${y} C20 ${y - swing} 20 ${y + swing} 40 ${y} C60 ${y - swing} 60 ${y + swing} 80 ${y} v11 `
        + `C60 ${y + 11 + swing} 60 ${y + 11 - swing} 40 ${y + 11} C20 ${y + 11 + swing} 20 ${y + 11 - swing} 0 ${y + 11} Z`,
    });
  }),
  // Quarters
  (n) => range(4).map((place) => {
    const x = 40 * (place % 2), y = 10 + 40 * Math.floor(place / 2);
    const turn = 90 * Math.floor(4 * n(place) * 0.99);
    return s("path", {
      class: `t${1 + ((place + (place >> 1)) % 2)}`,
      d: "M0 0 H40 A40 40 0 0 1 0 40 Z",
      transform: `translate(${x} ${y}) rotate(${turn} 20 20)`,
    });
  }),
  // Leaves
  (n) => range(3).map((place) =>
    s("path", {
      class: `t${(place % 2) + 1}`,
      d: "M40 12 C 66 34 66 66 40 88 C 14 66 14 34 40 12 Z",
      transform: `rotate(${-50 + 50 * place + 24 * n(place)} 40 88) scale(1 ${1 - 0.05 * place})`,
    })),
  // Discs
  (n) => [
    s("circle", { class: "t1", cx: 28 + 6 * n(0), cy: 42 + 12 * n(1), r: 20 }),
    s("circle", { class: "t2 through", cx: 50 + 6 * n(2), cy: 54 + 12 * n(3), r: 20 }),
  ],
  // Peaks
  (n) => [
    s("path", { class: "t2", d: `M-6 100 L${24 + 12 * n(0)} ${34 + 14 * n(1)} L70 100 Z` }),
    s("path", { class: "t1", d: `M20 100 L${52 + 12 * n(2)} ${46 + 14 * n(3)} L104 100 Z` }),
    s("circle", { class: "t1", cx: 16 + 48 * n(4), cy: 22, r: 8 }),
  ],
];

function arch(x, bottom, half, height) {
  const top = bottom - height + half;
  return `M${x - half} ${bottom} V${top} A${half} ${half} 0 0 1 ${x + half} ${top} V${bottom} Z`;
}
