"""The clean API under ``/api/v1``: its operations, and what describes them."""

from __future__ import annotations

from tastemaker.serving.api import catalogue, events, health, openapi, recommendations, rules_of_model, users
from tastemaker.serving.api.measuring import experiment, outcomes
from tastemaker.serving.operations.operation import Operation

__all__ = ["OPERATIONS", "operations"]

# in the order in which their paths are tried: first what is asked for most
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", "/api/v1/recommendations/users/{user:path}", "recommend_user", "What a user would buy next",
        recommendations.user, role="read", refusals=(404, 422),
    ),
    Operation(
        "GET", "/api/v1/products/{product:path}/similar", "similar_products", "Products near a product",
        recommendations.similar, role="read", refusals=(404, 422),
    ),
    Operation(
        "POST", "/api/v1/recommendations/basket", "recommend_basket", "What goes with a basket",
        recommendations.basket, role="read", refusals=(404, 413, 415, 422),
    ),
    Operation(
        "POST", "/api/v1/batch", "recommend_batch", "Lists for several users and baskets",
        recommendations.batch, role="read", refusals=(404, 413, 415, 422),
    ),
    Operation(
        "GET", "/api/v1/models", "models", "Models, their versions, labels and problems",
        catalogue.models, role="read",
    ),
    Operation(
        "GET", "/api/v1/products/{product:path}", "product", "What the catalogue says of one product",
        catalogue.product, role="read", refusals=(404, 422),
    ),
    Operation(
        "GET", "/api/v1/products", "products", "Find products by id or name",
        catalogue.products, role="read", refusals=(404, 422),
    ),
    Operation(
        "GET", "/api/v1/users/{user:path}/history", "history", "What a user bought",
        catalogue.history, role="read", refusals=(404, 422),
    ),
    Operation(
        "DELETE", "/api/v1/users/{user}", "forget_user", "Forget a user, with a receipt",
        users.forget, role="admin", refusals=(404, 422, 507),
    ),
    Operation(
        "GET", "/api/v1/rules", "rules", "The rules in force for a model",
        rules_of_model.rules, role="read", refusals=(404, 422),
    ),
    Operation(
        "PUT", "/api/v1/rules", "put_rules", "Replace the rules of a model",
        rules_of_model.put_rules,
        role="admin", refusals=(404, 412, 413, 415, 422, 507), headers=("If-Match",),
    ),
    Operation(
        "POST", "/api/v1/rules/effect", "rules_effect", "What rules would change before they are published",
        rules_of_model.effect, role="read", refusals=(404, 413, 415, 422),
    ),
    Operation(
        "GET", "/api/v1/rules/history", "rules_history", "What rules were published, when and by which key",
        rules_of_model.history, role="read", refusals=(404, 422),
    ),
    Operation(
        "POST", "/api/v1/events", "add_events", "Keep live purchases; they join their users' queries at once",
        events.add,
        role="events", refusals=(404, 413, 415, 422, 507), headers=("Idempotency-Key",),
    ),
    Operation(
        "POST", "/api/v1/events/bulk", "add_many_events", "Keep thousands of live purchases, a JSON line each",
        events.add_many,
        role="events", refusals=(404, 413, 415, 422, 507), headers=("Idempotency-Key",),
    ),
    Operation(
        "POST", "/api/v1/outcomes", "add_outcomes", "Keep what became of lists: shown, clicked, basket, bought",
        outcomes.add,
        role="events", refusals=(404, 413, 415, 422, 507), headers=("Idempotency-Key",),
    ),
    Operation(
        "GET", "/api/v1/experiment", "experiment", "What an experiment found so far, and what the day brought",
        experiment.experiment, role="read", refusals=(404, 422),
    ),
    Operation(
        "GET", "/api/v1/events/export", "export_events", "Live purchases as a log for the next training",
        events.export, role="admin", refusals=(404,),
        media=tuple(events.TYPES.values()),
    ),
)  # fmt: skip


def operations() -> tuple[Operation, ...]:
    """Return the operations of the API, those that describe it, and those for the server's operator."""
    return (*OPERATIONS, *openapi.operations(OPERATIONS), *health.OPERATIONS)
