"""The words of the synthetic shop: what its products can be, and how often.

Brands belong to a style and to a price level; categories belong to departments; colours belong to palettes.
Every name is invented.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = [
    "ADJECTIVES",
    "BRANDS",
    "CATEGORIES",
    "COLOURS",
    "DEPARTMENTS",
    "LEVELS",
    "PALETTES",
    "SIZES",
    "STYLES",
    "Category",
]

DEPARTMENTS: Final = ("women", "men")
STYLES: Final = ("boho", "minimal", "streetwear", "preppy", "vintage", "sporty", "glam", "outdoor")
SIZES: Final = ("regular", "petite", "tall", "plus")
"""Ranges of sizes: a product is cut for one of them, a user buys mostly from one of them."""

LEVELS: Final = (-1, -1, 0, 0, 1)
"""Price levels of the five brands of every style: cheap, cheap, middling, middling, dear."""

BRANDS: Final = {
    "boho": ("Saffron Lane", "Tamsin Vale", "Willow & Rue", "Oriel Moss", "Maison Calanthe"),
    "minimal": ("Plainsong", "Nordhus", "Grey Alder", "Studio Lund Ekko", "Marlow & Finch"),
    "streetwear": ("Kerbside", "Low Tide Club", "Ninth Avenue Works", "Hexa", "Otto Brandt Lab"),
    "preppy": ("Quadrangle", "Penhallow", "Aldwyn & Sons", "Regatta Row", "Harcourt Bligh"),
    "vintage": ("Second Reel", "Dolly Parade", "Brightwell Arcade", "Mabel & June", "Rosalind Quay"),
    "sporty": ("Tempo Nine", "Fleetfoot & Co", "Strada Uno", "Halden Run", "Apex Lindqvist"),
    "glam": ("Glitterati Lane", "Velvet Hour", "Noor Soiree", "Lumina Grace", "Casa Belladori"),
    "outdoor": ("Fell & Ford", "Packhorse", "Cairn Supply", "Tarnside", "Bjornstad Alpine"),
}

ADJECTIVES: Final = {
    "boho": ("embroidered", "tasselled", "paisley", "patchwork", "hand-dyed", "fringed"),
    "minimal": ("clean-cut", "pared-back", "tonal", "ribbed", "boxy", "seamless"),
    "streetwear": ("oversized", "graphic", "panelled", "distressed", "cropped", "colour-block"),
    "preppy": ("checked", "striped", "pinstripe", "crested", "pleated", "tailored"),
    "vintage": ("retro", "faded", "washed", "scalloped", "polka-dot", "worn-in"),
    "sporty": ("lightweight", "breathable", "two-tone", "stretch", "quick-dry", "reflective"),
    "glam": ("sequinned", "metallic", "embellished", "shimmer", "cut-out", "ruched"),
    "outdoor": ("padded", "weatherproof", "rugged", "thermal", "quilted", "waxed"),
}


class Category(NamedTuple):
    """A kind of clothing: what its products are called and made of, who wears it, and what it costs."""

    name: str
    nouns: tuple[str, ...]
    materials: tuple[str, ...]
    departments: tuple[str, ...]
    styles: tuple[str, ...]
    """The styles that make it four times as often as the others do."""
    price: float
    """Of a middling brand, in the currency of the shop."""


BOTH: Final = DEPARTMENTS

CATEGORIES: Final = (
    Category(
        "dresses",
        ("midi dress", "wrap dress", "slip dress", "maxi dress"),
        ("linen", "satin", "cotton", "viscose"),
        ("women",),
        ("boho", "glam", "vintage"),
        48,
    ),
    Category(
        "skirts",
        ("mini skirt", "midi skirt", "wrap skirt"),
        ("denim", "satin", "cotton", "corduroy"),
        ("women",),
        ("boho", "preppy", "vintage"),
        32,
    ),
    Category(
        "blouses",
        ("blouse", "tie-neck blouse", "smock top"),
        ("silk", "cotton", "chiffon"),
        ("women",),
        ("boho", "minimal", "vintage"),
        30,
    ),
    Category(
        "jeans",
        ("straight jeans", "wide jeans", "slim jeans"),
        ("denim", "stretch-denim", "organic-denim"),
        BOTH,
        ("streetwear", "vintage", "minimal"),
        42,
    ),
    Category(
        "trousers",
        ("trousers", "chinos", "wide trousers"),
        ("linen", "wool", "cotton"),
        BOTH,
        ("minimal", "preppy", "outdoor"),
        40,
    ),
    Category(
        "knitwear",
        ("jumper", "cardigan", "roll-neck"),
        ("wool", "merino", "cashmere", "cotton"),
        BOTH,
        ("minimal", "preppy", "vintage"),
        45,
    ),
    Category(
        "t-shirts",
        ("t-shirt", "long-sleeved tee", "vest"),
        ("cotton", "jersey", "organic-cotton"),
        BOTH,
        ("streetwear", "sporty", "minimal"),
        18,
    ),
    Category(
        "hoodies",
        ("hoodie", "zip hoodie", "sweatshirt"),
        ("fleece", "cotton", "jersey"),
        BOTH,
        ("streetwear", "sporty"),
        38,
    ),
    Category(
        "joggers",
        ("joggers", "leggings", "track shorts"),
        ("jersey", "cotton", "nylon"),
        BOTH,
        ("sporty", "streetwear"),
        30,
    ),
    Category(
        "shirts",
        ("shirt", "short-sleeved shirt", "overshirt"),
        ("cotton", "linen", "flannel"),
        ("men",),
        ("preppy", "vintage", "outdoor"),
        34,
    ),
    Category(
        "jackets",
        ("jacket", "bomber jacket", "gilet"),
        ("nylon", "denim", "corduroy"),
        BOTH,
        ("outdoor", "streetwear", "sporty"),
        70,
    ),
    Category(
        "coats",
        ("coat", "parka", "trench coat"),
        ("wool", "cotton", "canvas"),
        BOTH,
        ("outdoor", "minimal", "preppy"),
        110,
    ),
    Category(
        "trainers",
        ("trainers", "high-top trainers", "running shoes"),
        ("canvas", "suede", "mesh"),
        BOTH,
        ("sporty", "streetwear"),
        65,
    ),
    Category(
        "boots",
        ("ankle boots", "lace-up boots", "chelsea boots"),
        ("leather", "suede", "canvas"),
        BOTH,
        ("outdoor", "vintage", "glam"),
        85,
    ),
    Category(
        "heels",
        ("court shoes", "block heels", "strappy heels"),
        ("leather", "satin", "suede"),
        ("women",),
        ("glam", "minimal"),
        52,
    ),
    Category(
        "bags",
        ("tote bag", "cross-body bag", "rucksack"),
        ("canvas", "leather", "straw"),
        BOTH,
        ("boho", "outdoor", "glam"),
        36,
    ),
)

PALETTES: Final = ("earth", "neutral", "bright", "pastel")
COLOURS: Final = {
    "earth": ("moss", "rust", "camel", "chestnut"),
    "neutral": ("black", "ivory", "charcoal", "navy"),
    "bright": ("coral", "cobalt", "lemon", "fuchsia"),
    "pastel": ("lilac", "mint", "blush", "sky"),
}
