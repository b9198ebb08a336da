"""`Spelling`: one way to write a time, recognised from an example and read in a whole column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

__all__ = ["Order", "Spelling", "read_as", "recognised", "spelling_of", "words_of"]

Order = Literal["day", "month", "year"]
"""What stands first in a date of numbers: day, month, year; month, day, year; or year, month, day"""

FIRST, SECOND = "{first}", "{second}"
"""Stand in a form for ``%d`` and ``%m``, in the order that the rows bear out."""

YEAR_1000 = -30_610_224_000_000_000
"""In microseconds; ``%Y`` reads ``05/01/24`` as a date of the year 24, which nobody means."""

MINUTES = {
    "EST": -300, "EDT": -240, "CST": -360, "CDT": -300, "MST": -420, "MDT": -360, "PST": -480, "PDT": -420,
    "WET": 0, "WEST": 60, "BST": 60, "CET": 60, "CEST": 120, "MEZ": 60, "MESZ": 120, "EET": 120, "EEST": 180,
    "MSK": 180, "IST": 330, "JST": 540, "KST": 540, "AEST": 600, "AEDT": 660, "UTC": 0, "GMT": 0, "Z": 0,
}  # fmt: skip
"""What the names of zones mean, in minutes east of Greenwich."""

_DATES: tuple[tuple[str, str], ...] = (
    (r"\d{4}(?P<s>[-/.])\d{1,2}(?P=s)\d{1,2}", "%Y{s}%m{s}%d"),
    (r"\d{4}(?P<s>[-/.])\d{1,2}", "%Y{s}%m"),
    (r"\d{8}", "%Y%m%d"),
    (r"\d{1,2}(?P<s>[-/.]|\. )\d{1,2}(?P=s)\d{4}", "{first}{s}{second}{s}%Y"),
    (r"\d{1,2}(?P<s>[-/.]|\. )\d{1,2}(?P=s)\d{2}", "{first}{s}{second}{s}%y"),
    (r"\d{1,2}(?P<s>[-/ .])[A-Za-z]{3,9}(?P=s)\d{4}", "%d{s}%B{s}%Y"),
    (r"\d{1,2}(?P<s>[-/ .])[A-Za-z]{3,9}(?P=s)\d{2}", "%d{s}%B{s}%y"),
    (r"\d{1,2} [A-Za-z]{3,9}, \d{4}", "%d %B, %Y"),
    (r"\d{1,2}[A-Za-z]{3}\d{4}", "%d%B%Y"),
    (r"\d{1,2}[A-Za-z]{3}\d{2}", "%d%B%y"),
    (r"[A-Za-z]{3,9} \d{1,2}, \d{4}", "%B %d, %Y"),
    (r"[A-Za-z]{3,9} +\d{1,2} \d{4}", "%B %d %Y"),
    (r"[A-Za-z]{3,9}(?P<s>[-/])\d{1,2}(?P=s)\d{4}", "%B{s}%d{s}%Y"),
    (r"\d{4}(?P<s>[-/ .])[A-Za-z]{3,9}(?P=s)\d{1,2}", "%Y{s}%B{s}%d"),
)
"""How a day may be written, as a pattern and as a form of ``strptime``."""

_CLOCKS: tuple[tuple[str, str], ...] = (
    (r"\d{1,2}:\d{2}:\d{2}[.,]\d{1,9}", "%H:%M:%S%.f"),
    (r"\d{1,2}:\d{2}:\d{2}", "%H:%M:%S"),
    (r"\d{1,2}:\d{2}", "%H:%M"),
    (r"\d{1,2}\.\d{2}\.\d{2}\.\d{1,9}", "%H.%M.%S%.f"),
    (r"\d{1,2}\.\d{2}\.\d{2}", "%H.%M.%S"),
    (r"\d{6}\.\d{1,9}", "%H%M%S%.f"),
    (r"\d{6}", "%H%M%S"),
    (r"\d{4}", "%H%M"),
    (r"\d{1,2}", "%H"),
)

_WEEKDAY = r"(?P<weekday>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*(?P<comma>,?) )?"
_CLOCK = rf"(?:(?P<join>T|t|, | +|:|_)(?P<clock>{'|'.join(clock for clock, _ in _CLOCKS)})(?P<half> ?[AaPp]\.?[Mm]\.?)?)?"
_ZONE = (
    r"(?P<space> ?)(?P<zone>(?:GMT|UTC)?[+-]\d{2}:?\d{2}|(?:GMT|UTC)?[+-]\d{1,2}|Z|z|[A-Z]{2,5}|[A-Z][A-Za-z]+/[A-Za-z_/]+|"
    r"\[[A-Z][A-Za-z]+/[A-Za-z_/]+\])?(?P<tail> \([^)]*\))?"
)
_PATTERNS = tuple(
    (re.compile(rf"{_WEEKDAY}{date}{_CLOCK}{_ZONE}"), form) for date, form in _DATES
)  # fmt: skip

_POSIX = re.compile(
    r"[A-Z][a-z]{2} [A-Z][a-z]{2} +\d{1,2} \d{1,2}:\d{2}:\d{2}(?: (?P<zone>[A-Z]{2,5}|[+-]\d{2}:?\d{2}))? \d{4}"
)
"""``Thu Jan  5 08:30:00 UTC 2023``, as C, Java and ``date`` write it"""

_WORDS = {
    "%Y": "YYYY", "%y": "YY", "%m": "MM", "%d": "DD", "%B": "Month", "%A": "Weekday", "%H": "HH", "%I": "hh",
    "%M": "MM", "%S": "SS", "%.f": ".fraction", "%p": "am/pm", "%#z": "+offset",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spelling:
    """A form of ``strptime`` and what must be done to a text before it fits."""

    form: str
    """May hold ``{first}`` and ``{second}`` for day and month, in whichever order."""
    fixes: tuple[tuple[str, str], ...] = ()
    """Patterns and what takes their place, before the form is tried."""
    suffix: str = ""
    """The name of a zone at the end, which is taken off; only texts that end so are meant."""
    zone: str | None = None
    """The zone's name in the IANA database, where it is one."""
    shift: int = 0
    """Minutes east of Greenwich of a zone with a fixed offset."""

    @property
    def has_order(self) -> bool:
        """Tell whether day and month may change places."""
        return FIRST in self.form

    @property
    def may_begin_with_year(self) -> bool:
        """Tell whether of its three numbers of two digits the first may be the year."""
        return self.has_order and "%y" in self.form

    def ordered(self, order: Order) -> Spelling:
        """Return the spelling with day, month and a year of two digits in their places."""
        if order == "year" and self.may_begin_with_year:
            form = self.form.replace("%y", "%d").replace(FIRST, "%y").replace(SECOND, "%m")
            return replace(self, form=form)
        first, second = ("%m", "%d") if order == "month" else ("%d", "%m")
        return replace(self, form=self.form.replace(FIRST, first).replace(SECOND, second))


def spelling_of(example: str) -> Spelling | None:
    """Return how a text writes a time, ``None`` where it is not known.

    >>> spelling_of("5-Jan-24 8:26 pm").form, spelling_of("2024-01-05T10:00Z").form, spelling_of("soon")
    ('%d-%B-%y %I:%M %p', '%Y-%m-%dT%H:%M', None)
    """
    posix = _POSIX.fullmatch(example)
    if posix is not None:
        zone = posix["zone"]
        if zone is None or zone[-1].isdigit():
            return Spelling("%A %B %d %H:%M:%S " + ("" if zone is None else "%#z ") + "%Y")
        shift = MINUTES.get(zone.upper())
        return None if shift is None else Spelling(f"%A %B %d %H:%M:%S {zone} %Y", shift=shift)
    for pattern, form in _PATTERNS:
        found = pattern.fullmatch(example)
        if found is not None:
            spelled = _of_match(form, found.groupdict())
            if spelled is not None:
                return spelled
    return None


def recognised(examples: Iterable[str]) -> list[Spelling]:
    """Return the spellings of some texts, the most frequent first."""
    counts = Counter(spelling for spelling in map(spelling_of, examples) if spelling is not None)
    return [spelling for spelling, _ in counts.most_common()]


def read_as(text: pl.Expr, spelling: Spelling) -> pl.Expr:
    """Return the expression of a text column's times in this spelling, ``Int64`` microseconds, null where it does not fit."""
    stripped = text
    if spelling.suffix:
        stripped = pl.when(text.str.ends_with(spelling.suffix)).then(text.str.strip_suffix(spelling.suffix))
    for pattern, instead in spelling.fixes:
        stripped = stripped.str.replace(pattern, instead)
    moment = stripped.str.to_datetime(spelling.form, strict=False, time_unit="us", cache=False)
    if spelling.zone is not None:
        moment = moment.dt.replace_time_zone(spelling.zone, ambiguous="earliest", non_existent="null")
    times = moment.dt.timestamp("us") - spelling.shift * 60_000_000
    return pl.when(times > YEAR_1000).then(times) if "%Y" in spelling.form else times


def words_of(spelling: Spelling) -> str:
    """Write a spelling for people.

    >>> words_of(Spelling("%d/%m/%y %H:%M"))
    'DD/MM/YY HH:MM'
    """
    text = spelling.form
    for mark, word in _WORDS.items():
        text = text.replace(mark, word)
    return text + spelling.suffix


def _of_match(form: str, found: dict[str, str | None]) -> Spelling | None:
    fixes: list[tuple[str, str]] = []
    form = form.replace("{s}", found.get("s") or "")
    if found["weekday"]:
        form = f"%A{found['comma']} {form}"
    if found["clock"]:
        clock = next(form for pattern, form in _CLOCKS if re.fullmatch(pattern, found["clock"]))
        if "," in found["clock"]:
            fixes.append((r"(:\d{2}),(\d)", "${1}.${2}"))
        if clock == "%H":
            if not found["half"]:
                return None
            fixes.append((r"(?i)([T ,_:]\d{1,2})( ?[ap]\.?m)", "${1}:00${2}"))
            clock = "%H:%M"
        if found["half"]:
            space = " " if found["half"].startswith(" ") else ""
            clock = clock.replace("%H", "%I") + space + "%p"
            if "." in found["half"]:
                fixes.append((r"(?i)([ap])\.m\.?", "${1}m"))
        form += f"{found['join']}{clock}"
    if found["tail"]:
        fixes.append((r" \([^)]*\)$", ""))
    return _in_zone(form, tuple(fixes), found)


def _in_zone(form: str, fixes: tuple[tuple[str, str], ...], found: dict[str, str | None]) -> Spelling | None:
    zone, space = found["zone"], found["space"] or ""
    if zone is None:
        return Spelling(form, fixes) if not space else None
    if not found["clock"]:
        return None
    name = zone.strip("[]")
    if "/" in name:
        return Spelling(form, fixes, space + zone, name)
    if zone.upper() in MINUTES:
        return Spelling(form, fixes, space + zone, None, MINUTES[zone.upper()])
    if zone[-1].isdigit():
        cut = ((r"(GMT|UTC)([+-]\d)", "${2}"),) if zone[0] in "GU" else ()
        short = ((r"([+-])(\d)$", "${1}0${2}"),) if re.fullmatch(r"\D+\d", zone) else ()
        return Spelling(f"{form}{space}%#z", fixes + cut + short)
    return None
