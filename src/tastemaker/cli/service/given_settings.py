"""Settings of `tastemaker serve` from a file and the environment, which counts more than the file; a flag counts most."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from tastemaker.errors import SettingProblem

__all__ = ["PREFIX", "take_settings"]

PREFIX = "TASTEMAKER_SERVE_"
"""What the names of settings in the environment begin with"""

CONFIG = "config"


def take_settings(context: typer.Context, file: Path | None) -> Path | None:
    """Let what a file and the environment say stand in the place of defaults; raise `SettingProblem` for what is no setting.

    To be called before the other parameters are read, as the callback of an eager option.
    """
    if context.resilient_parsing:
        return file
    environment = {
        name.removeprefix(PREFIX): value for name, value in os.environ.items() if name.startswith(PREFIX)
    }
    named = environment.pop(CONFIG.upper(), None)
    file = file or (Path(named) if named else None)
    parameters: dict[str, Any] = {
        parameter.name: parameter
        for parameter in context.command.params
        if parameter.name not in (None, "help", CONFIG)
    }
    found: dict[str, Any] = {}
    if file is not None:
        for name, value in _read(file).items():
            key = _known(name.replace("-", "_"), parameters, f"{file} has the setting {name!r}", "-")
            found[key] = _fitting(parameters[key], value, f"{name} in {file}", context)
    for name, text in environment.items():
        said = f"the environment has {PREFIX}{name}"
        key = _known(name.lower(), parameters, said, "_", PREFIX)
        value = [part.strip() for part in text.split(",")] if _is_list(parameters[key]) else text
        found[key] = _fitting(parameters[key], value, f"{PREFIX}{name} in the environment", context)
    context.default_map = found
    return file


def _read(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingProblem(
            f"there is no file of settings {file}; take --config away, or write it."
        ) from None
    except OSError as error:
        raise SettingProblem(f"cannot read the settings {file}: {error.strerror or error}.") from error
    except ValueError as error:
        raise SettingProblem(f"{file} is no TOML ({error}); mend it.") from error
    return content


def _known(name: str, parameters: Mapping[str, Any], said: str, sign: str, prefix: str = "") -> str:
    """Return the name of a setting; raise `SettingProblem`, which names the nearest one, where there is none."""
    if name in parameters:
        return name

    def spelled(one: str) -> str:
        return f"{prefix}{one.upper()}" if prefix else one.replace("_", sign)

    near = get_close_matches(name, parameters, n=1)
    meant = (
        f"did you mean {spelled(near[0])}?"
        if near
        else f"there are {', '.join(map(spelled, sorted(parameters)))}."
    )
    raise SettingProblem(f"{said}, which is none; {meant}")


def _is_list(parameter: Any) -> bool:
    return bool(getattr(parameter, "multiple", False))


def _fitting(parameter: Any, value: Any, said: str, context: typer.Context) -> Any:
    """Return a value as the flag would take it; raise `SettingProblem` for one that it would not."""
    wrong = f"{said} is {value!r}; "
    if _is_list(parameter) != isinstance(value, list) or isinstance(value, dict):
        raise SettingProblem(
            wrong + ("it must be a list." if _is_list(parameter) else "it must be one value.")
        )
    is_flag = bool(getattr(parameter, "is_flag", False))
    if isinstance(value, bool) != is_flag and not isinstance(value, str):
        raise SettingProblem(wrong + ("it must be true or false." if is_flag else "that is no value of it."))
    texts = (
        [str(part) for part in value]
        if isinstance(value, list)
        else value
        if isinstance(value, bool)
        else str(value)
    )
    try:
        parameter.process_value(context, texts)
    except Exception as error:
        reason = getattr(error, "message", str(error)).rstrip(".")
        raise SettingProblem(f"{wrong}{reason}.") from None
    return texts
