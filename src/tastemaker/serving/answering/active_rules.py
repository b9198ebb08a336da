"""`RulesInForce`: the rules file of each model, watched, and rules compiled once for each version."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from weakref import WeakKeyDictionary, WeakValueDictionary

from tastemaker.errors import RulesLost, RulesProblem, TastemakerError
from tastemaker.ranking.rules.rule_book import RuleBook, compile_rules, sold_counts
from tastemaker.ranking.rules.rules import NO_RULES, Rules, RulesFile
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.models.registry import Registry, Served

__all__ = ["FILE", "RulesInForce"]

log = logging.getLogger("tastemaker.rules")

FILE = "rules.json"
"""The name of a model's rules, beside its versions"""

KEPT = 64
"""How many compiled sets of rules are kept for a version (a byte for each product)."""


class RulesInForce:
    """The rules that hold for every request to a model, and what rules come to for a version of it.

    Where a model's rules cannot be read and no good ones are known, what they govern is refused, unless it may do ``without``.
    """

    def __init__(self, registry: Registry, *, without: bool = False) -> None:
        self._registry, self._without = registry, without
        self._files: dict[str, RulesFile] = {}
        self._checked_by: WeakValueDictionary[str, LoadedModel] = WeakValueDictionary()
        """The version of each model by which its rules were last checked"""
        self._books: WeakKeyDictionary[LoadedModel, OrderedDict[tuple[Rules, ...], RuleBook]] = (
            WeakKeyDictionary()
        )
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self.look()

    def look(self) -> None:
        """Read what changed; called at each look of the registry."""
        with self._looking:  # a second caller waits, and finds what the first has read
            for name, served in self._registry.models.items():
                self._look_at(name, served)

    def _look_at(self, name: str, served: Served) -> None:
        file = self._files.get(name)
        loaded = None if served.default is None else served.get()
        if file is None:
            file = self._files[name] = RulesFile(served.state / FILE, partial(self._check, name))
            changed = file.rules != NO_RULES or file.problem is not None
        else:
            # rules that cannot hold may hold for another version, or where a catalogue has its column again
            changed = file.look(again=file.problem is not None and self._checked_by.get(name) is not loaded)
        if loaded is not None:
            self._checked_by[name] = loaded
        if changed and file.problem:
            log.error("the rules of %s: %s %s", name, file.problem, self._instead(file))
        elif changed:
            log.info("the rules of %s were read", name)

    def _instead(self, file: RulesFile) -> str:
        if not file.lost:
            return "The last good rules stay in force."
        return (
            "No rule is in force."
            if self._without
            else "Lists are refused until the file is mended or removed."
        )

    def of(self, name: str) -> Rules:
        """Return the rules of a model's file, those last good where it is not."""
        file = self._file_of(name)
        return NO_RULES if file is None else file.rules

    def _file_of(self, name: str) -> RulesFile | None:
        file = self._files.get(name)
        if file is None and name in self._registry.models:
            self.look()  # the model has just come, and no request shall see it without its rules
            file = self._files.get(name)
        return file

    def in_force(self, name: str) -> Rules:
        """Return the rules that lists of a model obey; raise `RulesLost` where nobody knows them."""
        file = self._file_of(name)
        if file is None:
            return NO_RULES
        if file.lost and not self._without:
            raise RulesLost(
                f"the rules of {name} cannot be read, and no good ones are known; mend its {FILE}, remove it, or put rules anew."
            )
        return file.rules

    def lost(self, name: str) -> bool:
        """Return whether lists of a model are refused because its rules are not known."""
        file = self._files.get(name)
        return file is not None and file.lost and not self._without

    def problem(self, name: str) -> str | None:
        """Return what is wrong with the file, ``None`` when it is in force."""
        file = self._files.get(name)
        return None if file is None else file.problem

    def book(self, loaded: LoadedModel, request: Rules = NO_RULES, *, at: int | None = None) -> RuleBook:
        """Return what the file's rules and those of a request come to; raise `RulesProblem` where they cannot hold.

        Raises `RulesLost` where nobody knows the file's.

        Rules with a schedule are those of now, or of a moment ``at``, in microseconds since 1970.
        """
        rules = self.in_force(loaded.name)
        if request is not NO_RULES or rules.named:
            return self.compiled(loaded, (rules, request), at=at)
        kept = loaded.book  # of most requests, which bring no rules
        if kept is None or kept[0] is not rules:
            kept = loaded.book = (rules, self.compiled(loaded, (rules,)))
        return kept[1]

    def compiled(self, loaded: LoadedModel, stated: tuple[Rules, ...], *, at: int | None = None) -> RuleBook:
        """Return what these rules come to for a version; raise `RulesProblem` where they cannot hold."""
        rules = _that_say_something(stated)
        if any(rule_set.named for rule_set in rules):
            moment = datetime.now(UTC) if at is None else datetime.fromtimestamp(at / 1e6, UTC)
            rules = _that_say_something([rule_set.standing(moment) for rule_set in rules])
        with self._lock:
            books = self._books.get(loaded)
            if books is None:
                books = self._books[loaded] = OrderedDict()
            found = books.get(rules)
            if found is not None:
                books.move_to_end(rules)
                return found
        try:
            sold = sold_counts(loaded.model, *rules)
            book = compile_rules(rules, loaded.model.products, loaded.catalogue, sold=sold)
        except TastemakerError as error:
            raise RulesProblem(str(error)) from None
        with self._lock:
            books[rules] = book
            while len(books) > KEPT:
                books.popitem(last=False)
        return book

    def check(self, loaded: LoadedModel, rules: Rules) -> None:
        """Raise `RulesProblem` for rules that cannot hold for a version."""
        try:
            compile_rules([rules.always()], loaded.model.products, loaded.catalogue)
        except TastemakerError as error:
            raise RulesProblem(str(error)) from None

    def _check(self, name: str, rules: Rules) -> None:
        served = self._registry.models.get(name)
        if served is not None and served.default is not None:
            loaded = served.get()
            compile_rules([rules.always()], loaded.model.products, loaded.catalogue)


def _that_say_something(stated: Iterable[Rules]) -> tuple[Rules, ...]:
    return tuple([rule_set for rule_set in stated if rule_set is not NO_RULES and rule_set != NO_RULES])
