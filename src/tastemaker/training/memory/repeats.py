"""What repeats weigh: the score that a product gains in the lists of users who bought it before."""

from __future__ import annotations

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.data.repeats import bought_again
from tastemaker.model.settings import RepeatSettings
from tastemaker.types import Floats

__all__ = ["repeat_bias"]


def repeat_bias(log: Purchases, settings: RepeatSettings) -> Floats | None:
    """Return what each product adds to its score for users who bought it, ``float32[P]``; ``None`` when none adds anything.

    level + sales · log(1 + how often it was bought again recently)
    """
    if not settings.sales and not settings.level:
        return None
    again = np.log1p(bought_again(log).astype(np.float32))
    bias: Floats = np.float32(settings.level) + np.float32(settings.sales) * again
    return bias
