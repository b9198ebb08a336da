"""The reference, written from the code: commands, Python, settings and HTTP. `build.py` puts it into the site."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

import tastemaker
from tastemaker import errors
from tastemaker.cli.app import app
from tastemaker.model.config import PARTS, preset
from tastemaker.serving.api.openapi import describe
from tastemaker.serving.api.routes import operations
from tastemaker.serving.front.settings import Settings

GROUPS = {
    "data": "Reading and splitting logs",
    "training": "Training",
    "model": "Models, settings and folders",
    "ranking": "Recommending",
    "evaluation": "Measuring and comparing",
    "estimator": "With scikit-learn",
}
"""Rooms of the package that hold public names, and what the reference calls them."""


def pages() -> dict[str, str]:
    """Return the pages of the reference by their names."""
    return {
        "commands.md": commands(),
        "python.md": python(),
        "settings.md": settings(),
        "http.md": http(),
        "errors.md": error_tree(),
    }


def commands() -> str:
    """Return the page of all commands and their options."""
    group: Any = typer.main.get_command(app)
    parts = ["# Commands\n\nWhat `tastemaker COMMAND --help` says, for every command.\n"]
    for name, command in group.commands.items():
        parts += _command(f"tastemaker {name}", command)
    return "\n".join(parts)


def _command(name: str, command: Any) -> Iterator[str]:
    context = typer.Context(command, info_name=name)
    inner = getattr(command, "commands", None)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"## {name}\n\n{markdown(command.help or '')}\n"
    if inner:
        for below, part in inner.items():
            yield from (line.replace("## ", "### ", 1) for line in _command(f"{name} {below}", part))
        return
    yield f"```text\n{usage}\n```\n"
    rows = [row for param in command.get_params(context) if (row := _option(param, context))]
    yield table(("option", "takes", "meaning", "default"), rows)


def _option(param: Any, context: Any) -> tuple[str, ...] | None:
    if param.name == "help" or getattr(param, "hidden", False):
        return None
    argument = param.param_type_name == "argument"
    names = (
        param.metavar or param.name.upper() if argument else " / ".join([*param.opts, *param.secondary_opts])
    )
    takes = "" if argument or param.is_flag else param.metavar or param.display_type(ctx=context) or "TEXT"
    default = "required" if param.required else ""
    if isinstance(param.show_default, str):
        default = param.show_default
    elif param.default not in (None, False, True, (), []) and not callable(param.default):
        default = str(param.default)
    return f"`{names}`", f"`{takes}`" if takes else "", markdown(param.help or ""), default


def python() -> str:
    """Return the page of every public name, its signature and its docstring."""
    parts = [
        "# Python\n\n`import tastemaker as tm`. What `help(tm.NAME)` says, for every public name. "
        "Errors have [a page of their own](errors.md), settings [another](settings.md).\n"
    ]
    rooms: dict[str, list[str]] = {room: [] for room in GROUPS}
    for name in tastemaker.__all__:
        room = getattr(tastemaker, name).__module__.split(".")[1]
        if room in rooms:
            rooms[room].append(name)
    for room, names in rooms.items():
        parts.append(f"## {GROUPS[room]}\n")
        for name in names:
            parts += _name(name, getattr(tastemaker, name))
    return "\n".join(parts)


def _name(name: str, value: Any) -> Iterator[str]:
    text = inspect.getdoc(value) or ""
    if name == "Config":
        text = text.partition("Settings of the vectors")[0] + "\n\n[All settings](settings.md)."
    yield f"### tm.{name}\n\n{signature(f'tm.{name}', value)}\n{linked(markdown(text), name)}\n"
    if not inspect.isclass(value):
        return
    fields = _field_texts(value)
    if fields and name != "Config":
        yield table(("field", "is"), [(f"`{field}`", markdown(text)) for field, text in fields.items()])
    for part, member in vars(value).items():
        if part.startswith("_") or part in fields:
            continue
        bare = (
            getattr(member, "__func__", None)
            or getattr(member, "fget", None)
            or getattr(member, "func", member)
        )
        if inspect.isfunction(bare) and bare.__doc__:
            call = (
                ""
                if isinstance(member, property | functools.cached_property)
                else signature(part, bare, dedent=True)
            )
            yield f"**`{name}.{part}`**\n\n{call}\n{linked(markdown(inspect.getdoc(bare) or ''), name)}\n"


def _field_texts(value: type) -> dict[str, str]:
    """Return the fields of a dataclass with the strings that stand below them."""
    if not dataclasses.is_dataclass(value):
        return {}
    body = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0].body  # type: ignore[attr-defined]
    found = {}
    for statement, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.AnnAssign) and not statement.target.id.startswith("_"):  # type: ignore[union-attr]
            said = (
                after.value.value
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                else ""
            )
            found[statement.target.id] = inspect.cleandoc(str(said))  # type: ignore[union-attr]
    return found


def settings() -> str:
    """Return the page of every setting, with its value in both presets."""
    text = inspect.getdoc(tastemaker.Config) or ""
    values = {name: preset(name) for name in ("default", "workshop")}

    def row(part: str, name: str, said: str) -> tuple[str, ...]:
        shown = [_value(getattr(getattr(config, part), name)) for config in values.values()]
        return f"`{part}.{name}`", said, *shown

    parts = [
        "# Settings\n\nA setting is given by its path or its short name: `--set memory.count_weight=4`, "
        '`tm.train(log, dimensions=64)`, `tm.preset("default").changed({"memory.count_weight": 4})`. '
        "*chosen* is a hyperparameter that the default model chooses on a part that it holds out of the log "
        "([how](../model.md#settings-that-choose-themselves)).\n"
    ]
    sections = re.split(r"^(Settings of .*?`(\w+)\.NAME`\..*)$", text, flags=re.MULTILINE)[1:]
    for title, part, body in zip(sections[::3], sections[1::3], sections[2::3], strict=True):
        told = dict(re.findall(r"^(\w+)\n((?:    .+\n?)+)", body, re.MULTILINE))
        before = re.split(r"^\w+\n    ", body, maxsplit=1, flags=re.MULTILINE)[0].strip()
        rows = [row(part, name, markdown(" ".join(said.split()))) for name, said in told.items()]
        lacking = set(told) ^ {field.name for field in dataclasses.fields(PARTS[part])}
        if lacking:
            raise ValueError(f"help(tm.Config) and the settings of {part} differ in {sorted(lacking)}")
        parts += [f"## {part}\n\n{markdown(title)} {markdown(before)}\n"]
        parts.append(table(("setting", "what it does", "default", "workshop"), rows))
    return "\n".join(parts)


def _value(value: object) -> str:
    return "*chosen*" if value is None else f"`{value}`" if value != "" else "none"


def http() -> str:
    """Return the page of every route, from the declarations that check requests."""
    document = describe(operations(), Settings(Path("models")))
    parts = [
        "# HTTP\n\nWhat `/docs` of a running server shows. [The API](../api.md) explains it, with examples; "
        "[Serving](../serving.md) has the calls in TensorFlow Serving's form.\n"
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"## {method.upper()} {path}\n\n{operation['summary']}.\n")
            rows = [
                (f"`{part['name']}`", part["in"], _kind(part["schema"]), part.get("description", ""))
                for part in operation.get("parameters", [])
            ]
            if rows:
                parts.append(table(("parameter", "in", "type", "meaning"), rows))
            if "requestBody" in operation:
                parts.append(
                    "".join(
                        f"Body: {_kind(one['schema'])}, as {media}.\n"
                        for media, one in operation["requestBody"]["content"].items()
                    )
                )
            refused = [status for status in operation["responses"] if status[0] in "45"]
            answer = operation["responses"]["200"].get("content", {})
            kinds = ", ".join(
                _kind(media["schema"]) if media else f"`{kind}`" for kind, media in answer.items()
            )
            parts.append(
                f"Answers 200 with {kinds}"
                + (f"; refuses with {', '.join(refused)}" if refused else "")
                + ".\n"
            )
    for name, schema in document["components"]["schemas"].items():
        parts.append(f"## {name}\n\n{schema.get('description', '')}\n")
        rows = [
            (
                f"`{field}`",
                _kind(part),
                "yes" if field in schema.get("required", []) else "",
                part.get("description", ""),
            )
            for field, part in schema.get("properties", {}).items()
        ]
        parts.append(table(("field", "type", "required", "meaning"), rows))
    return "\n".join(parts)


def _kind(schema: dict[str, Any]) -> str:
    """Name the type of a JSON schema."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_kind(part) for part in schema[key])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def error_tree() -> str:
    """Return the page of all errors."""
    parts = [f"# Errors in Python\n\n{markdown(errors.__doc__ or '')}\n"]
    for name in errors.__all__:
        parts.append(f"## {name}\n\n{markdown(inspect.getdoc(getattr(errors, name)) or '')}\n")
    return "\n".join(parts)


def signature(name: str, value: Callable[..., Any], *, dedent: bool = False) -> str:
    """Return the signature of a function or class as a block of Python, one parameter a line where it is long."""
    try:
        found = inspect.signature(value)
    except (ValueError, TypeError):
        return ""
    parameters = [str(part) for part in found.parameters.values() if not (dedent and part.name == "self")]
    kinds = [part.kind for part in found.parameters.values() if not (dedent and part.name == "self")]
    keyword_only = [kind is inspect.Parameter.KEYWORD_ONLY for kind in kinds]
    if any(keyword_only) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parameters.insert(keyword_only.index(True), "*")
    back = (
        ""
        if found.return_annotation in (inspect.Signature.empty, None, "None")
        else f" -> {found.return_annotation}"
    )
    line = f"{name}({', '.join(parameters)}){back}"
    if len(line) > 88:
        line = f"{name}(\n" + "".join(f"    {part},\n" for part in parameters) + f"){back}"
    return f"```python\n{line.replace(chr(39), '')}\n```\n"


def markdown(text: str) -> str:
    """Return a docstring as Markdown: sessions and indented blocks are fenced, listed names become a list."""
    out: list[str] = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text).replace("``", "`").replace("\n::\n", "\n")):
        if block.startswith(">>>"):
            out.append(f"```python\n{block}\n```")
        elif all(line.startswith("    ") for line in block.splitlines()) and block:
            out.append(f"```text\n{textwrap.dedent(block)}\n```")
        elif found := re.fullmatch(r"((?:^[\w.]+\n(?:^    .+\n?)+)+)", block, re.MULTILINE):
            named = re.findall(r"^([\w.]+)\n((?:    .+\n?)+)", found[1], re.MULTILINE)
            out += [f"- `{name}`: {' '.join(said.split())}" for name, said in named]
        else:
            out.append(re.sub(r"\n+::$", "", block))
    return "\n\n".join(out).strip()


def linked(text: str, own: str) -> str:
    """Return Markdown in which public names in code lead to their places on the page of Python."""

    def link(found: re.Match[str]) -> str:
        name = found[1]
        return f"[`{name}`](#tm{name.lower()})" if name in tastemaker.__all__ and name != own else found[0]

    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if part.startswith("```") else re.sub(r"(?<![\[`])`(\w+)`", link, part) for part in parts
    )


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table; a line end within a cell becomes a space, a bar an escaped one."""
    lines = [head, tuple("---" for _ in head), *rows]
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"
