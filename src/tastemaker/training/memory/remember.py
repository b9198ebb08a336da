"""`remember`: the memory of a model, the weighted sum of what its sources say."""

from __future__ import annotations

from collections.abc import Callable

from tastemaker.data.past import Past
from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.settings import MemorySettings
from tastemaker.model.taste_model import Memory
from tastemaker.training.memory.co_occurrence import added, memories
from tastemaker.training.memory.directed import step_memory
from tastemaker.training.memory.numbers import number_memory, numbers_of
from tastemaker.training.memory.spectral import spectral_memory

__all__ = ["remember"]


def remember(
    histories: Histories,
    catalogue: Vocabulary,
    settings: MemorySettings,
    pool: ThreadPool,
    *,
    past: Past | None = None,
    spectral: Callable[[ThreadPool], Memory] | None = None,
) -> Memory | None:
    """Return common purchases, regression, spectral part, numbers and steps, weighted and added; ``None`` when none weighs.

    ``spectral`` makes the spectral part where it is not the whole one, since vectors say some of it.
    """
    products = len(catalogue)
    counts, ridge = memories(
        histories,
        products,
        settings,
        pool,
        counts=bool(settings.count_weight),
        ridge=bool(settings.ridge_weight),
    )
    parts = [(settings.count_weight or 0.0, counts), (settings.ridge_weight or 0.0, ridge)]
    if settings.spectral_weight:
        table = spectral(pool) if spectral else spectral_memory(histories, products, settings, pool)
        parts.append((settings.spectral_weight, table))
    numbers = numbers_of(catalogue) if settings.number_weight else None
    if settings.number_weight and numbers is not None:
        parts.append((settings.number_weight, number_memory(histories, numbers)))
    if settings.directed_weight and past is not None:
        steps = step_memory(past, products, fade=settings.directed_fade, partners=settings.partners)
        parts.append((settings.directed_weight, steps))
    return added(parts, products)
