"""`Recommender`: a model as scikit-learn's estimators are, and `folds`, our splits as its cross-validation takes them.

scikit-learn is not needed, and imported only where it asks for something itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from inspect import signature
from typing import Any, Literal

import numpy as np
import polars as pl

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.given import AnyHeldOut, AnyIds, AnyLog
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.readers import read_purchases
from tastemaker.data.splits import Split
from tastemaker.display import card
from tastemaker.errors import DataError, SettingProblem
from tastemaker.evaluation.evaluate import evaluate
from tastemaker.evaluation.metrics import USER_METRICS
from tastemaker.model.config import Config, is_setting
from tastemaker.model.taste_model import TasteModel
from tastemaker.ranking.recommend import Recommendations, recommend, recommend_baskets, similar
from tastemaker.training.progress_bar import AnyProgress
from tastemaker.training.train import train
from tastemaker.types import AnyArray

__all__ = ["Recommender", "folds"]

PLACE = "place of the purchase in its log"
"""The column by which `folds` follows purchases through a split."""


class Recommender:
    """Learn with `fit`, ask with `recommend` and `similar`, measure with `score`: an estimator in scikit-learn's shape.

    ``preset`` and further settings by their names are those of `train`. ``metric`` is what `score` returns, higher is better. The
    constructor only stores; `fit` checks and starts afresh; what it learned is ``model_``, a `TasteModel`.

    >>> import tastemaker as tm
    >>> log = tm.make_shop(users=200, products=50, purchases=1_500).purchases
    >>> shop = Recommender(epochs=2, dimensions=8).fit(log)
    >>> shop.recommend("c-000001", k=3).to_frame().columns
    ['user_id', 'product_id', 'rank', 'score']
    >>> shop.set_params(dimensions=16).get_params()["dimensions"]
    16
    """

    _estimator_type = "recommender"

    def __init__(
        self,
        preset: str | Config = "default",
        *,
        seed: int = 0,
        threads: int | None = None,
        metric: str = "ndcg@10",
        progress: AnyProgress = False,
        **settings: object,
    ) -> None:
        self.preset = preset
        self.seed = seed
        self.threads = threads
        self.metric = metric
        self.progress = progress
        self._settings = settings

    def fit(self, X: AnyLog, y: object = None) -> Recommender:  # noqa: N803  (scikit-learn's names)
        """Learn from a log: a frame, a file, or purchases that were read. ``y`` is passed over, as scikit-learn wants it."""
        self._length()
        self.model_: TasteModel = train(
            _with_columns(X),
            self.preset,
            seed=self.seed,
            threads=self.threads,
            progress=self.progress,
            **self._settings,  # type: ignore[arg-type]
        )
        return self

    def score(self, X: AnyHeldOut, y: object = None) -> float:  # noqa: N803
        """Return the mean of ``metric`` over the users of what was bought later, as `evaluate` measures it."""
        at = self._length()
        model = self._fitted()
        return evaluate(model, _with_columns(X), at=at, threads=self.threads).metrics[self.metric].mean

    def recommend(self, users: AnyIds, *, k: int = 10, **options: Any) -> Recommendations:
        """Return what each user would most likely buy next; users and options as of `tastemaker.recommend`."""
        return recommend(self._fitted(), users, k=k, **options)

    def recommend_baskets(self, baskets: Iterable[Any], *, k: int = 10, **options: Any) -> Recommendations:
        """Return what fits each basket; as `tastemaker.recommend_baskets`."""
        return recommend_baskets(self._fitted(), baskets, k=k, **options)

    def similar(self, products: AnyIds, *, k: int = 10, **options: Any) -> Recommendations:
        """Return the products nearest to each product; as `tastemaker.similar`."""
        return similar(self._fitted(), products, k=k, **options)

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return every argument of the constructor by name, and the settings that were given."""
        named = [
            name
            for name, parameter in signature(type(self)).parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        return {**{name: getattr(self, name) for name in named}, **self._settings}

    def set_params(self, **params: object) -> Recommender:
        """Change arguments and settings by name; raise `SettingProblem` for one that there is not."""
        named = set(signature(type(self)).parameters) - {"settings"}
        for name, value in params.items():
            if name in named:
                setattr(self, name, value)
            elif name == "effort" or is_setting(name):
                self._settings = {**self._settings, name: value}
            else:
                raise SettingProblem(
                    f"a Recommender has no parameter {name!r}; it has {', '.join(sorted(named))} and the settings of "
                    "help(tastemaker.Config)."
                )
        return self

    def __repr__(self) -> str:
        defaults = {name: parameter.default for name, parameter in signature(type(self)).parameters.items()}
        given = {
            name: value
            for name, value in self.get_params().items()
            if name not in defaults or value is not defaults[name]
        }
        return f"Recommender({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def _repr_html_(self) -> str:
        return (
            card(repr(self), {}, "Not fitted yet.")
            if not self.__sklearn_is_fitted__()
            else self.model_._repr_html_()
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        inputs = InputTags(two_d_array=False, one_d_array=False, string=True)
        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            input_tags=inputs,
            no_validation=True,
        )

    def _fitted(self) -> TasteModel:
        if self.__sklearn_is_fitted__():
            return self.model_
        text = "this Recommender is not fitted yet; call fit with a log first."
        if sys.modules.get("sklearn"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(text)
        raise DataError(text)

    def _length(self) -> int:
        name, _, k = self.metric.partition("@")
        if name not in USER_METRICS or not k.isdigit() or not int(k):
            raise SettingProblem(
                f"metric is {self.metric!r}; write NAME@K, such as ndcg@10, of {', '.join(USER_METRICS)}."
            )
        return int(k)


def folds(
    log: AnyLog, hold_out: Callable[..., Split | tuple[Split, ...]], *arguments: Any, **options: Any
) -> list[tuple[AnyArray, AnyArray]]:
    """Return the positions of train and held out in a log, for each split: what scikit-learn's ``cv`` takes.

    ``hold_out`` is one of our splits, further arguments are its own. Positions, ``int64``, are those of the purchases of a log that
    was read, or of a frame's rows; rows that reading drops are in no part.

    >>> import tastemaker as tm
    >>> log = pl.DataFrame({"user": [1, 1, None, 2], "product": list("abca"), "date": ["2024-01-01", "2024-03-01"] * 2})
    >>> [(train.tolist(), test.tolist()) for train, test in folds(log, tm.hold_out_time, "2024-02-01")]
    [([0], [1, 3])]
    """
    placed = _placed(log)
    found = hold_out(placed, *arguments, **options)
    return [
        (_places(split.train), _places(split.held_out))
        for split in (found if isinstance(found, tuple) else (found,))
    ]


def _placed(log: AnyLog) -> Purchases:
    """Return a log whose purchases know their places."""
    if isinstance(log, Purchases):
        return replace(log, context=pl.DataFrame({PLACE: np.arange(len(log))}))
    if not hasattr(log, "columns"):
        raise DataError(
            f"positions are those of a frame or of purchases that were read, not of a {type(log).__name__}."
        )
    if hasattr(log, "assign"):  # pandas
        placed = log.assign(**{PLACE: np.arange(len(log))})
    else:
        placed = (log if isinstance(log, pl.DataFrame) else pl.DataFrame(log)).with_row_index(PLACE)
    return read_purchases(placed, reading=Reading(context=(PLACE,)))


def _places(part: Purchases) -> AnyArray:
    assert part.context is not None
    return part.context.get_column(PLACE).cast(pl.Int64).to_numpy()


def _with_columns(given: Any) -> Any:
    """Give an array of user and product ids the columns of a log: user, product and, where there is a third, quantity."""
    if not isinstance(given, np.ndarray):
        return given
    names: tuple[Literal["user", "product", "quantity"], ...] = ("user", "product", "quantity")
    if given.ndim != 2 or not 2 <= given.shape[1] <= len(names):
        raise DataError(
            f"an array of the shape {given.shape} is no log; it must have a column of users, one of products, and "
            "perhaps one of quantities."
        )
    return pl.DataFrame({name: given[:, place] for place, name in enumerate(names[: given.shape[1]])})
