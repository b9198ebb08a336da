"""`tune`: a short automatic search over the few important settings, on a part held out of train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker.data.purchases import Purchases
from tastemaker.errors import SettingProblem
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.training.progress import Watcher
from tastemaker.training.selection.choose import choose_settings, decay_for

if TYPE_CHECKING:
    from optuna import Study, Trial

__all__ = ["tune"]


def tune(
    log: Purchases, config: Config, *, minutes: float, file: Path, seed: int, pool: ThreadPool, watch: Watcher
) -> tuple[Config, dict[str, Any]]:
    """Return the best settings found in the given minutes, and what was measured; the trials are kept in ``file``.

    A trial is what `choose_settings` does for other settings: the same users and held-out purchases judge all of them. The
    first trial
    is the settings as given, so that the result is never worse by that measure. Called again with the same file, log and
    preset, the search goes on where it stopped; with minutes 0 it only takes the best of the trials there. Needs the optional
    package optuna; raises `SettingProblem` without it or for a model of free users, whose settings are the workshop's.
    """
    if config.taste.query == "free":
        raise SettingProblem("--tune searches the settings of composed users; use it with --preset default.")
    if minutes < 0:
        raise SettingProblem(f"--tune is {minutes}; it must be a number of minutes, 0 or more.")
    study = _study(log, config, file, seed)
    trials: dict[int, tuple[Config, dict[str, Any]]] = {}

    def objective(trial: Trial) -> float:
        settled, measured = choose_settings(log, _suggested(trial, config), seed, pool=pool, watch=watch)
        if "with_memory" not in measured:
            raise SettingProblem("the log is too small to hold anything out of it; train without --tune.")
        trials[trial.number] = settled, dict(measured)
        return float(measured["with_memory"])

    finished = [trial for trial in study.trials if trial.value is not None]
    if minutes or not finished:
        study.optimize(objective, timeout=minutes * 60 or None, n_trials=None if minutes else 1)
    best = study.best_trial
    if best.number not in trials:
        trials[best.number] = _measured_again(log, config, best.params, seed, pool, watch)
    settled, measured = trials[best.number]
    return settled, measured | {
        "tuning": {"trials": len(study.trials), "best": best.params, "file": str(file)}
    }


def _study(log: Purchases, config: Config, file: Path, seed: int) -> Study:
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise SettingProblem(
            "--tune needs the package optuna; install it with: pip install 'tastemaker[tune]'."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=f"{config.preset} {log.fingerprint()[:16]} {seed}",
        storage=JournalStorage(JournalFileBackend(str(file))),
        sampler=optuna.samplers.TPESampler(seed=seed),
        direction="maximize",
        load_if_exists=True,
    )
    if not study.trials:
        given = {
            name: getattr(config, name)
            for name in ("learning_rate", "rare_decay", "popularity_power", "damping")
        }
        study.enqueue_trial(
            {**given, "decay": decay_for(log) if config.taste.decay is None else config.taste.decay}
        )
    return study


def _suggested(trial: Trial, config: Config) -> Config:
    return config.changed(
        {
            "learning_rate": trial.suggest_float("learning_rate", 0.1, 0.8, log=True),
            "decay": trial.suggest_float("decay", 0.005, 0.3, log=True),
            "rare_decay": trial.suggest_float("rare_decay", 0.1, 10.0, log=True),
            "popularity_power": trial.suggest_float("popularity_power", 0.0, 1.0),
            "damping": trial.suggest_float("damping", 0.25, 1.0),
        }
    )


def _measured_again(
    log: Purchases, config: Config, params: dict[str, Any], seed: int, pool: ThreadPool, watch: Watcher
) -> tuple[Config, dict[str, Any]]:
    settled, measured = choose_settings(log, config.changed(params), seed, pool=pool, watch=watch)
    return settled, dict(measured)
