"""Model folders as an attacker writes them: any content, and every checksum right."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

EXTREMES = (-1, -(2**31), 2**31 - 1, 2**40, -(2**62), 2**63 - 1)
WORDS: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    7,
    2**63,
    1.5,
    "",
    "x" * 300,
    "../x",
    "/etc/passwd",
    [],
    [1],
    {},
    {"a": 1},
)


def reseal(folder: Path, manifest: dict[str, Any] | None = None) -> None:
    """Make every checksum of a folder right again, that of the manifest too."""
    path = folder / "manifest.json"
    if manifest is None:
        manifest = json.loads(path.read_text())
    files = manifest.get("files")
    if isinstance(files, dict):
        for name in list(files):
            file = folder / name
            if "/" not in name and len(name) < 256 and file.is_file():
                content = file.read_bytes()
                files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest.pop("sha256", None)
    text = json.dumps(manifest, sort_keys=True)
    manifest["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(manifest))


def mutate(folder: Path, rng: np.random.Generator) -> str:
    """Change one thing of a good folder, or a few, and say what; all sums are right afterwards."""
    what = []
    for _ in range(int(rng.integers(1, 3))):
        change = MUTATIONS[rng.integers(len(MUTATIONS))]
        what.append(change(folder, rng))
    reseal(folder)
    return "; ".join(what)


def _arrays(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.npy") if path.is_file() and not path.is_symlink())


def _pick(folder: Path, rng: np.random.Generator) -> Path | None:
    paths = _arrays(folder)
    return paths[rng.integers(len(paths))] if paths else None


def _load(path: Path) -> np.ndarray | None:
    try:
        return np.load(path, allow_pickle=False)
    except ValueError:
        return None


def set_values(folder: Path, rng: np.random.Generator) -> str:
    """Set a few values of an array to extremes."""
    path = _pick(folder, rng)
    array = None if path is None else _load(path)
    if path is None or array is None or not array.size:
        return "nothing"
    flat = array.reshape(-1)
    places = [0, -1, *rng.integers(0, len(flat), 2)][: int(rng.integers(1, 5))]
    if array.dtype.kind not in "fiu":
        return "nothing"
    if array.dtype.kind == "f":
        flat[places] = rng.choice([np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-45])
    else:
        info = np.iinfo(array.dtype)
        flat[places] = min(max(int(rng.choice(EXTREMES)), info.min), info.max)
    np.save(path, array)
    return f"values of {path.name}"


def reorder_values(folder: Path, rng: np.random.Generator) -> str:
    """Swap two values, reverse, or repeat one."""
    path = _pick(folder, rng)
    array = None if path is None else _load(path)
    if path is None or array is None or array.size < 2:
        return "nothing"
    flat = array.reshape(-1)
    one, other = rng.integers(0, len(flat), 2)
    kind = rng.integers(3)
    if kind == 0:
        flat[[one, other]] = flat[[other, one]]
    elif kind == 1:
        array = np.ascontiguousarray(array[::-1])
    else:
        flat[one] = flat[other]
    np.save(path, array)
    return f"order of {path.name}"


def reshape(folder: Path, rng: np.random.Generator) -> str:
    """Give an array another length, type or order."""
    path = _pick(folder, rng)
    array = None if path is None else _load(path)
    if path is None or array is None:
        return "nothing"
    kind = rng.integers(5)
    if kind == 0:
        array = array[: int(rng.integers(0, len(array) + 1))]
    elif kind == 1:
        array = np.concatenate([array, array[:3]])
    elif kind == 2:
        array = array.astype(rng.choice(["float64", "int8", "int64", "uint32", "bool", "complex64", "<U3"]))
    elif kind == 3:
        array = np.asfortranarray(array)
    else:
        array = array.reshape(1, -1)
    np.save(path, array)
    return f"shape of {path.name}"


def break_file(folder: Path, rng: np.random.Generator) -> str:
    """Cut a file, or write noise into it."""
    paths = sorted(path for path in folder.iterdir() if path.name != "manifest.json" and path.is_file())
    if not paths:
        return "nothing"
    path = paths[rng.integers(len(paths))]
    content = bytearray(path.read_bytes())
    if rng.integers(2):
        content = content[: int(rng.integers(0, len(content) + 1))]
    else:
        for _ in range(int(rng.integers(1, 20))):
            content[rng.integers(len(content))] = rng.integers(256)
    path.unlink()
    path.write_bytes(content)
    return f"bytes of {path.name}"


def replace_file(folder: Path, rng: np.random.Generator) -> str:
    """Put a link, a pipe or a folder in the place of a file, or take it away, or add one."""
    paths = sorted(path for path in folder.iterdir() if path.name != "manifest.json" and path.is_file())
    if not paths:
        return "nothing"
    path = paths[rng.integers(len(paths))]
    kind = rng.choice(["link", "pipe", "folder", "gone", "unlisted", "extra"])
    manifest = json.loads((folder / "manifest.json").read_text())
    if kind in ("unlisted", "extra"):
        if isinstance(manifest.get("files"), dict):
            if kind == "unlisted":
                manifest["files"].pop(path.name, None)
            else:
                manifest["files"]["../" + path.name] = {"bytes": 1, "sha256": "0" * 64}
            (folder / "manifest.json").write_text(json.dumps(manifest))
        return f"{path.name} {kind}"
    moved = folder.parent / f"{folder.name}-{path.name}"
    shutil.move(path, moved)
    if kind == "link":
        path.symlink_to(moved)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    return f"{path.name} {kind}"


def change_ids(folder: Path, rng: np.random.Generator) -> str:
    """Repeat an id, make one null, or give ids another type."""
    path = folder / f"{rng.choice(['users', 'products'])}.arrow"
    if not path.is_file() or path.is_symlink():
        return "nothing"
    try:
        ids = pl.read_ipc(path, memory_map=False).to_series()
    except Exception:
        return "nothing"
    if len(ids) < 2:
        return "nothing"
    kind = rng.integers(4)
    if kind == 0:
        ids = pl.concat([ids[:1], ids[:1], ids[2:]])
    elif kind == 1:
        ids = pl.concat([ids[:-1], ids[:1].clear(1)])
    elif kind == 2:
        ids = (ids.hash() % 2).cast(pl.Boolean).alias("id")
    else:
        ids = ids.reverse()
    ids.to_frame().write_ipc(path, compression="uncompressed")
    return f"ids of {path.name}"


def change_manifest(folder: Path, rng: np.random.Generator) -> str:
    """Set a value of the manifest, at any depth, to one of another kind."""
    manifest = json.loads((folder / "manifest.json").read_text())
    node: Any = manifest
    trail = []
    while isinstance(node, dict) and node:
        key = list(node)[rng.integers(len(node))]
        trail.append(key)
        if not isinstance(node[key], dict) or not node[key] or rng.integers(3) == 0:
            node[key] = WORDS[rng.integers(len(WORDS))]
            break
        node = node[key]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return f"manifest {'.'.join(map(str, trail))}"


MUTATIONS = (
    set_values, set_values, reorder_values, reshape, break_file, replace_file, change_ids, change_manifest, change_manifest,
)  # fmt: skip


def everything(model: Any) -> Any:
    """Return a model that has learned from more than pairs, with the parts that it lacks made up."""
    from tastemaker.model.beside.live import FoldIn
    from tastemaker.model.taste_model import Memory

    rng, products, dimensions = np.random.default_rng(0), len(model.products), model.dimensions
    squares = rng.random((2, dimensions, dimensions), np.float32)
    rows = np.arange(products + 1)
    return dataclasses.replace(
        model,
        memory=Memory(rows.astype(np.int64), rows[:-1].astype(np.int32), rng.random(products, np.float32)),
        product_values=rng.random(products, np.float32) + 1,
        live=dataclasses.replace(
            model.live,
            fold_in=FoldIn(
                *squares, *rng.random((2, dimensions), np.float32), rng.random(products, np.float32)
            ),
        ),
    )


def attack(good: Path, folder: Path, seed: int, users: int = 5) -> str:
    """Mutate a copy of a good folder, load it, and rank; return ``refused: …``, ``ranked``, or what went wrong."""
    from tastemaker.errors import TastemakerError
    from tastemaker.model.folder import load

    rng = np.random.default_rng(seed)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    what = mutate(folder, rng)
    try:
        model = load(folder)
        if not model.is_plain:
            return _ranks_in_every_way(model, rng, users) or "ranked"
    except TastemakerError as error:
        text = str(error)
        return (
            f"refused: {text}" if text.endswith(".") and "\n" not in text else f"no sentence: {text} ({what})"
        )
    except Exception as error:
        return f"raised {type(error).__name__}: {error} ({what})"
    return _ranks_as_numpy_does(model, rng, users) or "ranked"


def _ranks_in_every_way(model: Any, rng: np.random.Generator, users: int) -> str | None:
    """Rank for users, visits and products, and let a purchase move what moves; return how a list is not what its scores say.

    The scores of all products come from another kernel than the lists, and NumPy sorts them.
    """
    from tastemaker.ranking.live.standing import Bought, Standing
    from tastemaker.ranking.recommend import Visit, recommend, recommend_visits, similar
    from tastemaker.ranking.scores import score_rows

    chosen = np.sort(rng.choice(len(model.users), min(users, len(model.users)), replace=False))
    some = model.users.at(chosen)
    with np.errstate(all="ignore"):
        for again in (False, True):
            lists = recommend(model, some, k=10, include_purchased=again).to_frame()
            every = np.tile(np.arange(len(model.products), dtype=np.int32), (len(chosen), 1))
            scores = score_rows(model, chosen, every, include_purchased=again).astype(np.float64)
            for place, row in enumerate(chosen):
                mine = lists.filter(lists["user_id"] == some[place])["score"].to_numpy()
                if not again:
                    scores[place, model.histories.of(row)] = -np.inf
                expected = np.sort(scores[place][np.isfinite(scores[place])])[::-1][:10]
                if np.isfinite(scores[place]).all() and not np.allclose(
                    mine, expected[: len(mine)], rtol=1e-3, atol=1e-3 * (1 + np.abs(expected).max(initial=0))
                ):
                    return f"other lists than NumPy's for the user at row {row}"
        similar(model, model.products.at([0, len(model.products) - 1]), k=5)
        context = dict.fromkeys(model.tokens.context.names, "x") if model.tokens is not None else {}
        recommend_visits(model, [Visit(basket=[model.products.at([0])[0]], context=context)], k=5)
        if model.live is not None and model.past is not None:
            moved = Standing(model)
            bought = Bought(
                np.zeros(1, np.int32),
                np.array([moved.clock + 1], np.int64),
                chosen[:1].astype(np.int32),
                model.past,
            )
            moved.follow(bought)
            moved.as_model(moved.clock + 1)
    return None


def _ranks_as_numpy_does(model: Any, rng: np.random.Generator, users: int) -> str | None:
    """Return how the lists of some users differ from those of plain NumPy; ``None`` where they do not."""
    from tastemaker.ranking.recommend import recommend

    chosen = np.sort(rng.choice(len(model.users), min(users, len(model.users)), replace=False))
    lists = recommend(model, model.users.at(chosen), k=10).to_frame()
    for row in chosen:
        bought = model.histories.of(row)
        count = max(len(bought), 1)
        query = model.basket_vectors[bought].astype(np.float64).sum(0) / count**model.damping
        scores = model.product_vectors.astype(np.float64) @ query + model.product_bias
        scale = np.abs(model.product_vectors.astype(np.float64)) @ np.abs(query) + np.abs(model.product_bias)
        for product in bought:
            places = slice(model.memory.offsets[product], model.memory.offsets[product + 1])
            scores[model.memory.products[places]] += (
                model.memory.weights[places] / count**model.memory_damping
            )
        scores[bought] = -np.inf
        mine = lists.filter(lists["user_id"] == model.users.at([row])[0])["score"].to_numpy()
        expected = np.sort(scores[np.isfinite(scores)])[::-1][:10]
        close = np.isclose(mine, expected, rtol=1e-3, atol=1e-3 + 1e-6 * scale.max())
        if not (close | ~np.isfinite(mine) | (np.abs(expected) > 3e38)).all():
            return f"other lists than NumPy's for the user at row {row}"
    return None
