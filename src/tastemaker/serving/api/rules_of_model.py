"""The API's view of a model's rules: those in force, what others would change, what was published before; and their replacement."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec
from msgspec import UNSET
from starlette.concurrency import run_in_threadpool

from tastemaker.errors import SettingProblem
from tastemaker.ranking.rules.rule_book import IdlePin
from tastemaker.ranking.rules.rules import Rules, write_rules
from tastemaker.serving.answering.active_rules import FILE
from tastemaker.serving.answering.rule_effect import effect_of, sample_of
from tastemaker.serving.answering.rule_history import note, read_history
from tastemaker.serving.answering.visitors import visitors_of
from tastemaker.serving.api import schemas as bodies
from tastemaker.serving.api.model_choice import chosen
from tastemaker.serving.api.rules import rules_of_body
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.answers import etag_of
from tastemaker.serving.operations.service import RequestInfo, Service

__all__ = ["effect", "history", "put_rules", "rules"]

SHOWN = 50
"""How many publishings the history tells"""


async def rules(request: RequestInfo, query: bodies.ModelQuery) -> bodies.RulesAnswer:
    """Answer ``GET /api/v1/rules``."""
    loaded = chosen(request, query)
    await run_in_threadpool(request.service.state.rules.look)  # another worker may just have written them
    return _rules(request.service, loaded)


async def put_rules(
    request: RequestInfo, query: bodies.ModelQuery, body: bodies.RulesOfModel
) -> bodies.RulesAnswer:
    """Answer ``PUT /api/v1/rules``: write the file; it is in force here at once, in other processes and hosts within a second."""
    loaded = chosen(request, query)
    state = request.service.state
    wanted = rules_of_body(body)
    await run_in_threadpool(state.rules.check, loaded, wanted)
    known = (request.headers["If-Match"] or "*").strip()
    former: list[Rules] = []

    def check() -> None:
        state.rules.look()
        former.append(state.rules.of(loaded.name))
        if known not in (
            "*",
            _mark_of(state.rules.of(loaded.name)),
            etag_of(_rules(request.service, loaded)),
        ):
            raise Refusal(412, "the rules were changed since; read them again.")

    registry = request.service.registry
    folder = registry.models[loaded.name].state

    def write() -> None:
        with registry.home.together():
            write_rules(folder / FILE, wanted, check=check, home=registry.home)
            note(folder, former[0], wanted, request.notes.get("key"), home=registry.home)
        state.rules.look()

    try:
        await run_in_threadpool(write)
    except SettingProblem as error:
        raise Refusal(507, str(error)) from None
    return _rules(request.service, loaded, wanted)


async def effect(
    request: RequestInfo, query: bodies.ModelQuery, body: bodies.EffectBody
) -> bodies.EffectAnswer:
    """Answer ``POST /api/v1/rules/effect``: what these rules would change, in the place of those in force; nothing is written."""
    loaded = chosen(request, query)
    state = request.service.state
    wanted = rules_of_body(body.rules)
    await run_in_threadpool(state.rules.check, loaded, wanted)
    after = state.rules.compiled(loaded, (wanted,))
    before = state.rules.book(loaded)
    users = [loaded.user_ids.one(row) for row in sample_of(loaded, body.customers).tolist()]
    visitors = await visitors_of(state, loaded, [(user, ()) for user in users])
    standing = await state.standing(loaded, None)
    found = await request.service.engine.run(lambda: effect_of(standing, visitors, before, after, k=body.k))
    return bodies.EffectAnswer(
        model=loaded.name,
        version=loaded.version,
        k=body.k,
        allowed=after.remaining,
        candidates=len(loaded.model.products),
        idle_pins=_idle(after.idle),
        idle_rules=list(after.idle_rules),
        **dataclasses.asdict(found),
    )


async def history(request: RequestInfo, query: bodies.ModelQuery) -> bodies.RulesHistoryAnswer:
    """Answer ``GET /api/v1/rules/history``."""
    loaded = chosen(request, query)
    entries = await run_in_threadpool(read_history, request.service.registry.models[loaded.name].state)
    return bodies.RulesHistoryAnswer(
        loaded.name,
        [
            bodies.RulesPublished(entry.number, entry.time, entry.key, _body_of(entry.rules))
            for entry in reversed(entries[-SHOWN:])
        ],
    )


def _rules(service: Service, loaded: LoadedModel, written: Rules | None = None) -> bodies.RulesAnswer:
    """Return what the rules of a model come to: those in force, or those just written even if they were replaced since."""
    rules = service.state.rules
    stated = rules.of(loaded.name) if written is None else written
    book = rules.compiled(loaded, (stated,))
    return bodies.RulesAnswer(
        model=loaded.name,
        rules=_body_of(stated),
        problem=rules.problem(loaded.name) if written is None else None,
        unknown=list(book.unknown),
        candidates=len(loaded.model.products),
        allowed=book.remaining,
        removed=list(book.removals),
        mark=_mark_of(stated),
        idle_pins=_idle(book.idle),
        idle_rules=list(book.idle_rules),
    )


def _idle(pins: Sequence[IdlePin]) -> list[bodies.IdlePinSaid]:
    return [bodies.IdlePinSaid(pin.product, pin.rule) for pin in pins]


def _mark_of(rules: Rules) -> str:
    """Return what names the rules as they stand in the file, whatever the catalogue makes of them."""
    return etag_of(_body_of(rules))


def _body_of(rules: Rules) -> bodies.RulesOfModel:
    """Return rules as a body that would set them."""
    return bodies.RulesOfModel(
        allow=UNSET if rules.allow is None else list(rules.allow),
        deny=list(rules.deny),
        where={condition.column: condition.to_json() for condition in rules.where},
        minimum_price=UNSET if rules.minimum_price is None else rules.minimum_price,
        at_most=dict(rules.at_most),
        pin=list(rules.pin),
        include_purchased=UNSET if rules.include_purchased is None else rules.include_purchased,
        rules=msgspec.convert([rule.to_json() for rule in rules.named], list[bodies.NamedRuleBody]),
    )
