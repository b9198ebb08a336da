"""What a model folder holds: every file declared once, with its type, its shape and what its values must obey.

A right checksum does not make a folder safe: anyone who can write the folder can write a matching checksum. The kernels trust
offsets and rows, so everything they trust is checked once, when a model is loaded: types and shapes here, numbers in `values`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Literal

import numpy as np

from tastemaker.errors import DamagedModel
from tastemaker.types import AnyArray

__all__ = ["PARTS", "ModelArray", "expected_files", "map_part", "open_regular"]

MAGIC = b"\x93NUMPY\x01\x00"
HEADER = re.compile(
    rb"\{'descr': '(?P<type>[<|][fiu][1248])', 'fortran_order': (?P<order>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,18}, ?){0,2}(?:\d{1,18})?)\), \} *\n"
)

Rule = Literal["above zero", "finite", "moments", "natural", "offsets", "positive", "rows"]


@dataclass(frozen=True, slots=True)
class ModelArray:
    """One array of a model folder."""

    name: str
    dtype: str
    axes: tuple[str, ...]
    """``U``, ``P`` and those plus one are known from the manifest; every other letter is bound by the first array that has it"""
    rule: Rule
    owners: str | None = None
    """The offsets that part this array into lists"""
    ascends: bool = True
    """Whether the rows ascend strictly within each of those lists"""
    required: bool = False
    needs: tuple[str, ...] = ()
    """Parts without which this one means nothing"""
    among: str = "P"
    """The axis that rows are of"""


PARTS: tuple[ModelArray, ...] = (
    ModelArray("product_vectors", "float32", ("P", "D"), "finite", required=True),
    ModelArray("product_bias", "float32", ("P",), "finite", required=True),
    ModelArray("user_vectors", "float32", ("U", "D"), "finite"),
    ModelArray("basket_vectors", "float32", ("P", "D"), "finite"),
    ModelArray("history_offsets", "int64", ("U+1",), "offsets", required=True),
    ModelArray("history_products", "int32", ("pairs",), "rows", owners="history_offsets", required=True),
    ModelArray("history_times", "int32", ("pairs",), "positive"),
    ModelArray("repeat_bias", "float32", ("P",), "finite"),
    ModelArray("product_values", "float32", ("P",), "above zero"),
    ModelArray("memory_offsets", "int64", ("P+1",), "offsets", needs=("memory_products", "memory_weights")),
    ModelArray(
        "memory_products", "int32", ("entries",), "rows", owners="memory_offsets", needs=("memory_offsets",)
    ),
    ModelArray("memory_weights", "float32", ("entries",), "finite", needs=("memory_offsets",)),
    ModelArray("past_offsets", "int64", ("U+1",), "offsets", needs=("past_products", "past_times")),
    ModelArray(
        "past_products",
        "int32",
        ("events",),
        "rows",
        owners="past_offsets",
        ascends=False,
        needs=("past_offsets",),
    ),
    ModelArray("past_times", "int64", ("events",), "moments", needs=("past_offsets",)),
    ModelArray("past_kinds", "int16", ("events",), "natural", needs=("past_offsets",)),
    ModelArray("past_strengths", "float32", ("events",), "finite", needs=("past_offsets",)),
    ModelArray(
        "token_vectors",
        "float32",
        ("T", "D"),
        "finite",
        needs=("user_token_offsets", "product_token_offsets"),
    ),
    *(
        part
        for noun, axis in (("user", "U+1"), ("product", "P+1"))
        for part in (
            ModelArray(f"{noun}_token_offsets", "int64", (axis,), "offsets", needs=("token_vectors",)),
            ModelArray(
                f"{noun}_token_tokens",
                "int32",
                (f"{noun} tokens",),
                "rows",
                owners=f"{noun}_token_offsets",
                ascends=False,
                among="T",
                needs=("token_vectors",),
            ),
            ModelArray(
                f"{noun}_token_weights", "float32", (f"{noun} tokens",), "finite", needs=("token_vectors",)
            ),
        )
    ),
    ModelArray("kind_offsets", "int64", ("kinds",), "offsets", needs=("kind_products", "kind_weights")),
    ModelArray(
        "kind_products", "int32", ("kind entries",), "rows", owners="kind_offsets", needs=("kind_offsets",)
    ),
    ModelArray("kind_weights", "float32", ("kind entries",), "finite", needs=("kind_offsets",)),
    ModelArray("fold_basis", "float32", ("D", "D"), "finite", needs=("fold_pull", "fold_eigenvalues")),
    ModelArray("fold_pull", "float32", ("D", "D"), "finite", needs=("fold_basis",)),
    ModelArray(
        "fold_eigenvalues", "float32", ("D",), "finite", needs=("fold_basis", "fold_mean", "fold_buyers")
    ),
    ModelArray("fold_mean", "float32", ("D",), "finite", needs=("fold_basis",)),
    ModelArray("fold_buyers", "float32", ("P",), "finite", needs=("fold_basis",)),
)
"""In the order in which they are read: offsets stand before the lists that they part."""

IDS = ("users.arrow", "products.arrow")


def expected_files(names: Mapping[str, object], where: Path) -> tuple[ModelArray, ...]:
    """Return the parts that a manifest's files name; raise `DamagedModel` where one is missing, unknown, or lacks its companion."""
    known = {f"{part.name}.npy": part for part in PARTS}
    for name in names:
        if name not in known and name not in IDS:
            raise DamagedModel(
                f"the manifest of {where} lists a file {name!r}, which is no part of a model; train again."
            )
    required = [*IDS, *(name for name, part in known.items() if part.required)]
    present = tuple(part for name, part in known.items() if name in names)
    required += [f"{other}.npy" for part in present for other in part.needs]
    missing = [name for name in required if name not in names]
    if missing:
        raise DamagedModel(f"the manifest of {where} lists no {missing[0]}; it is part of a model only.")
    return present


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read, if it is a plain one: no link, pipe or device, and without ever waiting for a writer.

    Raises `DamagedModel`.
    """
    try:
        file = open(path, "rb", opener=_plainly)  # noqa: SIM115  (the caller closes it)
    except IsADirectoryError as error:
        raise DamagedModel(f"{path} is no plain file; a model folder holds plain files only.") from error
    except OSError as error:
        if error.errno is not None and not path.is_symlink():
            raise DamagedModel(
                f"{path.parent} lacks its file {path.name} ({error.strerror}); copy the folder again or train the model again."
            ) from error
        raise DamagedModel(f"{path} is a link; a model folder holds plain files only.") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise DamagedModel(f"{path} is no plain file; a model folder holds plain files only.")
    return file


def _plainly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def map_part(file: BufferedReader, part: ModelArray, sizes: dict[str, int], where: Path) -> AnyArray:
    """Map an array whose header is as declared; bind the axes that it is the first to have. Raises `DamagedModel`.

    ``sizes`` holds the length of each axis that is known: ``U``, ``P`` and what arrays before this one bound.
    """
    name = f"{where.name}/{part.name}.npy"
    try:
        shape, fortran, dtype = _header(file)
    except (ValueError, EOFError, OSError) as error:
        raise DamagedModel(f"{name} is no array ({error}); train the model again.") from error
    wanted = tuple(_size(axis, sizes, length) for axis, length in zip(part.axes, shape, strict=False))
    if len(shape) != len(part.axes) or shape != wanted or dtype != np.dtype(part.dtype) or fortran:
        axes = ", ".join(part.axes)
        raise DamagedModel(
            f"{name} holds {dtype}{list(shape)}{' in column order' if fortran else ''}; "
            f"this model needs {part.dtype}[{axes}] with {_known(part, sizes)}. Train the model again."
        )
    for axis, length in zip(part.axes, shape, strict=True):
        sizes.setdefault(axis, length)
    start = file.tell()
    expected = start + int(np.prod(shape, dtype=np.float64)) * dtype.itemsize
    if os.fstat(file.fileno()).st_size != expected:
        raise DamagedModel(f"{name} is not as long as its header says; copy the folder again or train again.")
    if 0 in shape:
        return np.zeros(shape, dtype)
    # Copy-on-write, and nobody writes: Numba gives read-only arrays a type of their own, and would compile every kernel twice.
    return np.memmap(file, dtype=dtype, mode="c", offset=start, shape=shape)


def _header(file: BufferedReader) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Read the header as NumPy writes it for a plain array; anything else is refused rather than parsed."""
    if file.read(8) != MAGIC:
        raise ValueError("it does not begin as one")
    found = HEADER.fullmatch(file.read(int.from_bytes(file.read(2), "little")))
    if found is None:
        raise ValueError("its header is not one of a plain array")
    shape = tuple(int(length) for length in found["shape"].split(b",") if length.strip())
    fortran = found["order"] == b"True"
    return shape, fortran and len(shape) > 1 and min(shape) > 1, np.dtype(found["type"].decode())


def _size(axis: str, sizes: Mapping[str, int], length: int) -> int:
    return sizes.get(axis, length)


def _known(part: ModelArray, sizes: Mapping[str, int]) -> str:
    facts = [f"{axis} = {sizes[axis]:,}" for axis in dict.fromkeys(part.axes) if axis in sizes]
    return ", ".join(facts) or "any lengths"
