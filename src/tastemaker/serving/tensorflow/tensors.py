"""JSON as TensorFlow Serving reads and describes it: RapidJSON's leniency and its words, and the types of tensors."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from tastemaker.serving.front.problems import Refusal

__all__ = ["DataType", "checked", "debug", "parse_object"]

DataType = str
"""``DT_INT32``, ``DT_INT64``, ``DT_STRING`` or ``DT_BOOL``"""

LONGEST_ECHO = 1000
_NUMBERS = {"DT_INT32": (-(2**31), 2**31 - 1), "DT_INT64": (-(2**63), 2**63 - 1), "DT_UINT64": (0, 2**64 - 1)}
_NAMES = {
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT64": "uint64",
    "DT_STRING": "string",
    "DT_VARIANT": "int64 or string",
    "DT_BOOL": "bool",
}
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\n\r"

_RAPIDJSON = (  # Python's words, RapidJSON's words
    ("Expecting property name", "Missing a name for object member."),
    ("Illegal trailing comma before end of object", "Missing a name for object member."),
    ("Expecting ':'", "Missing a colon after a name of object member."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid \\u", "Incorrect hex digit after \\u escape in string."),
    ("Invalid \\", "Invalid escape character in string."),
    ("Invalid control character", "Invalid encoding in string."),
)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the object that begins a body: bytes after it are ignored, ``NaN`` and ``Infinity`` are numbers.

    Raises `Refusal` (400) with TensorFlow Serving's message.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _parse_leniently(body)
    if type(value) is not dict:
        raise Refusal(400, f"JSON Value: {debug(value)} Is not object")
    return value


def checked(value: Any, dtype: DataType) -> Any:
    """Return a value of this type, bytes (``{"b64": …}``) decoded; raise `Refusal` with TensorFlow Serving's message."""
    kind = type(value)
    if dtype == "DT_STRING":
        if kind is str:
            return value
        if kind is dict:
            return _decoded(value)
    elif dtype == "DT_VARIANT":
        if kind is str or (kind is int and abs(value) < 1 << 63):
            return value
        if kind is dict:
            return _decoded(value)
    elif dtype == "DT_BOOL":
        if kind is bool:
            return value
    elif kind is int:
        low, high = _NUMBERS[dtype]
        if low <= value <= high:
            return value
    raise Refusal(
        400, f"JSON Value: {debug(value)} Type: {_type(value)} is not of expected type: {_NAMES[dtype]}"
    )


def debug(value: Any) -> str:
    """Write a value as TensorFlow Serving echoes it, indented by four, but shortened."""
    text = json.dumps(value, indent=4, ensure_ascii=False)
    return text if len(text) <= LONGEST_ECHO else text[:LONGEST_ECHO] + "…"


def is_base64(value: Any) -> bool:
    """Return whether a value is ``{"b64": text}``."""
    return type(value) is dict and len(value) == 1 and type(value.get("b64")) is str


def _decoded(value: dict[str, Any]) -> str:
    import base64

    if not is_base64(value):
        raise Refusal(400, f"JSON Value: {debug(value)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"] + "=" * (-len(value["b64"]) % 4), validate=True).decode()
    except ValueError:
        raise Refusal(400, "Unable to base64 decode") from None


def _type(value: Any) -> str:
    if type(value) is bool:
        return "True" if value else "False"
    names = {dict: "Object", list: "Array", str: "String", type(None): "Null"}
    return names.get(type(value), "Number")


def _parse_leniently(body: bytes) -> Any:
    if not body:
        raise Refusal(400, "JSON Parse error: The document is empty")
    skipped = len(body) - len(body.removeprefix(_BOM).lstrip(_SPACE))
    try:
        text = body[skipped:].decode()
        if not text:
            raise Refusal(400, f"JSON Parse error: The document is empty. at offset: {skipped}")
        value, _ = _DECODER.raw_decode(text)
        json.dumps(value, ensure_ascii=False).encode()  # raises for half a surrogate pair
    except json.JSONDecodeError as error:
        offset = skipped + len(error.doc[: error.pos].encode())
        words = _words(error.msg, error.doc, error.pos)
        raise Refusal(400, f"JSON Parse error: {words} at offset: {offset}") from None
    except UnicodeDecodeError as error:
        raise Refusal(
            400, f"JSON Parse error: Invalid encoding in string. at offset: {skipped + error.start}"
        ) from None
    except UnicodeEncodeError:
        raise Refusal(
            400, f"JSON Parse error: The surrogate pair in string is invalid. at offset: {skipped}"
        ) from None
    except RecursionError:
        raise Refusal(400, "JSON Parse error: Terminate parsing due to Handler error. at offset: 0") from None
    return value


def _integer(digits: str) -> int | float:
    value = int(digits) if len(digits) <= 20 else float(digits)
    return value if -(2**63) <= value < 2**64 else float(digits)


_DECODER = json.JSONDecoder(parse_int=_integer)


def _words(message: str, text: str, place: int) -> str:
    for python, words in _RAPIDJSON:
        if message.startswith(python):
            return words
    if message.startswith(("Expecting ','", "Illegal trailing comma")):
        within = _innermost(text[:place])
        return (
            "Missing a comma or ] after an array element."
            if within == "["
            else "Missing a comma or } after an object member."
        )
    return "Invalid value."


def _innermost(text: str) -> str:
    """Return the bracket, ``[`` or ``{``, that is open at the end of a text."""
    opened: list[str] = []
    for mark in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        if mark in "[{":
            opened.append(mark)
        elif mark in "]}" and opened:
            opened.pop()
    return opened[-1] if opened else "{"
