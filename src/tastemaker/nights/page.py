"""The page of a night: what was read, tested and published, and quality over all nights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from tastemaker.nights.shop_file import ShopFile
from tastemaker.storage import replace_text

__all__ = ["chart", "night_page", "write_night_page"]

WIDTH, HEIGHT, EDGE = 720, 180, 24

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;text-align:left;border-bottom:1px solid #ddd}
.published{color:#285}.stop{color:#a33}svg{width:100%;height:auto}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}.published{color:#6c9}.stop{color:#e88}}
"""


def write_night_page(shop: ShopFile, runs: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> Path:
    """Write the page of a run beside those of earlier ones, and return its path."""
    folder = shop.state / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{run['started'].replace(':', '').replace('+0000', 'Z')}.html"
    replace_text(file, night_page(shop.publish.name, [*runs, run]))
    return file


def night_page(name: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of the last of these runs, with the course of all; all that comes from data is escaped, no script runs."""
    run = runs[-1]
    figures, replay = run.get("figures") or {}, run.get("replay") or {}
    facts = {
        "outcome": run["outcome"],
        "why": " ".join(run["why"]),
        "version": run["version"],
        "in service before": run["service"],
        "purchases": figures.get("purchases"),
        "users": figures.get("users"),
        "products": figures.get("products"),
        "live events": run["live_events"],
        "replay": replay.get("sentence"),
        "questions": replay.get("questions"),
        "seconds": run["seconds"],
        "inputs": run["inputs"],
    }
    lines = "".join(
        f"<tr><th>{key}</th><td>{escape(_text(value))}</td></tr>"
        for key, value in facts.items()
        if value not in (None, "")
    )
    rows = "".join(_row(run) for run in reversed(runs[-60:]))
    metric = next((run["replay"]["metric"] for run in reversed(runs) if run.get("replay")), "quality")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(name)}, {escape(run['started'])}</title><style>{STYLE}</style>"
        f"<h1>{escape(name)}: {escape(run['started'])}</h1><table>{lines}</table>"
        f"<h2>{escape(metric)}, night by night</h2>{chart(runs)}"
        f"<table><tr><th>night<th>outcome<th>version<th>purchases<th>{escape(metric)}<th>in service</tr>{rows}</table></html>\n"
    )


def _row(run: Mapping[str, Any]) -> str:
    figures, replay = run.get("figures") or {}, run.get("replay") or {}
    cells = (
        run["started"],
        run["outcome"],
        run["version"],
        figures.get("purchases"),
        replay.get("new"),
        replay.get("service"),
    )
    kind = "published" if run["outcome"] in ("published", "nothing new") else "stop"
    return f'<tr class="{kind}">' + "".join(f"<td>{escape(_text(cell))}</td>" for cell in cells) + "</tr>"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def chart(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return a picture of the new versions' quality and that of those in service, night by night."""
    points = {
        key: [
            (place, run["replay"][key])
            for place, run in enumerate(runs)
            if run.get("replay") and run["replay"][key] is not None
        ]
        for key in ("new", "service")
    }
    values = [value for line in points.values() for _, value in line]
    if len(points["new"]) < 2:
        return "<p>Two nights with a replay make a picture.</p>"
    top, last = max(values) or 1.0, max(len(runs) - 1, 1)

    def placed(place: int, value: float) -> str:
        return f"{EDGE + place / last * (WIDTH - 2 * EDGE):.1f},{HEIGHT - EDGE - value / top * (HEIGHT - 2 * EDGE):.1f}"

    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(placed(*point) for point in points[key])}">'
        f"<title>{label}</title></polyline>"
        for key, colour, label in (("service", "#999", "in service"), ("new", "#47a", "new"))
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="quality night by night">'
        f'<line x1="{EDGE}" x2="{WIDTH - EDGE}" y1="{HEIGHT - EDGE}" y2="{HEIGHT - EDGE}" stroke="#999"/>'
        f'<text x="2" y="{EDGE}" font-size="12" fill="#777">{top:.3f}</text>{lines}</svg>'
        "<p>Blue: the new model; grey: the version in service, on the same purchases.</p>"
    )
