"""Bad input through the real command line: one sentence on stderr, the right exit code, nothing written."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def snapshot(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


def refused(tastemaker, folder, *arguments, says, code=1):
    """Run a command that must fail; check its one line, its code and that the folder is as it was."""
    before = snapshot(folder)
    ran = tastemaker(*arguments, cwd=folder)
    assert ran.returncode == code, ran.stderr
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    if code == 1:
        *facts, last = ran.stderr.strip().splitlines()
        assert last.startswith("tastemaker: ")
        assert not any(fact.startswith("tastemaker: ") for fact in facts)
        assert says in last
    else:
        assert says in " ".join(ran.stderr.split())
    assert snapshot(folder) == before


HEAD = "user_id,product_id\n"

LOGS = {
    "a missing file": (None, "does not exist"),
    "a folder": ("folder", "is a folder without a file"),
    "an empty file": (b"", "is empty"),
    "truncated Parquet": ("truncated", "cannot read"),
    "Parquet in name only": (b"hello, world\n1,2\n", "whatever its name says"),
    "ragged rows": ((HEAD + "a,1\nb,2,3\n").encode(), "is ragged: line 3"),
    "no known column": (b"colour,size\nred,3\n", "user"),
    "two user columns": (b"user_id,customer_id,product_id\n1,2,3\n", "may be the user"),
    "nothing but a header": (HEAD.encode(), ""),
    "rows that are all dropped": ((HEAD + ",1\nb,\n").encode(), "no purchase is left"),
}


@pytest.mark.parametrize("case", LOGS)
def test_a_log_that_is_none(tastemaker, shop_files, here, case):
    content, says = LOGS[case]
    parquet = case in ("truncated Parquet", "Parquet in name only")
    log = here / ("log.parquet" if parquet else "log.csv")
    if content == "folder":
        log.mkdir()
    elif content == "truncated":
        log.write_bytes(shop_files.purchases.read_bytes()[:-100])
    elif content is not None:
        log.write_bytes(content)
    refused(tastemaker, here, "train", log.name, "--out", "models/1", "--preset", "workshop", says=says)


SETTINGS = [
    (["--dimensions", 0], "dimensions is 0; it must be at least 1"),
    (["--epochs", -1], "epochs is -1"),
    (["--negatives", 0], "negatives is 0"),
    (["--learning-rate", "nan"], "learning_rate is nan; it must be a finite number above 0"),
    (["--learning-rate", "inf"], "learning_rate is inf"),
    (["--learning-rate", "1e30"], "the loss of epoch 1 is not finite"),
    (["--seed", -1], "seed is -1"),
    (["--set", "colour=red"], "there is no setting 'colour'"),
    (["--set", "epochs"], "is not of the form KEY=VALUE"),
    (["--set", "epochs=many"], "epochs is 'many'; it must be a whole number"),
    (["--max-memory", "lots"], "--max-memory is 'lots'"),
    (["--max-memory", "1M"], "--max-memory allows 1 MiB"),
    (["--preset", "fancy"], "there is no preset 'fancy'"),
    (["--user-column", "who"], "no column 'who'"),
    (["--users", "users.csv"], "missing from the catalogue"),
    (["--products", "nowhere.csv"], "does not exist"),
    (["--valid", "strangers.csv"], "the model knows no row"),
    (["--hold-out", "time", "--time-column", ""], "no times to split by"),
]


@pytest.mark.parametrize(
    ("options", "says"),
    SETTINGS,
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_settings_that_cannot_work(tastemaker, shop_files, here, options, says):
    (here / "users.csv").write_text("user_id\nsomebody\n")
    (here / "strangers.csv").write_text(HEAD + "nobody,-5\n")
    preset = [] if "--preset" in options else ["--preset", "workshop"]
    refused(
        tastemaker, here, "train", shop_files.purchases, "--out", "models/1", *preset, *options, says=says
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "log.csv"], "Missing option '--out'"),
        (["train", "log.csv", "--out", "1", "--epochs", "x"], "Invalid value for '--epochs'"),
        (["train", "log.csv", "--out", "1", "--threads", "0"], "--threads"),
        (["train", "log.csv", "--out", "1", "--valid", "v", "--hold-out", "last"], "exclude each other"),
        (["recommend", "MODEL"], "exactly one of"),
        (["recommend", "MODEL", "--all-users", "--user", "u"], "exactly one of"),
        (["similar", "MODEL"], "exactly one of"),
        (["similar", "MODEL", "--all-products", "--similarity", "euclid"], "--similarity"),
        (["fetch", "everything"], "asos"),
        (["bake"], "No such command 'bake'"),
    ],
)
def test_wrong_usage_exits_with_two(tastemaker, model_folder, here, arguments, says):
    arguments = [model_folder if argument == "MODEL" else argument for argument in arguments]
    refused(tastemaker, here, *arguments, says=says, code=2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["recommend", "MODEL", "--user", "c-999999"], "user 'c-999999' is not among the 400 users known. An id here looks like"),
        (["recommend", "MODEL", "--user", "c-000001", "--user", "x", "--json"], "user 'x' is not among"),
        (["recommend", "MODEL", "--users", "strangers.csv", "--out", "r.parquet"], "'nobody'"),
        (["recommend", "MODEL", "--users", "nowhere.csv"], "does not exist"),
        (["similar", "MODEL", "--product", "no-such"], "product 'no-such' is not among"),
        (["recommend", "MODEL", "--user", "c-000001", "--k", "0"], "k is 0"),
        (["recommend", "MODEL", "--all-users", "--k", "-3", "--out", "r.parquet"], "k is -3"),
        (["similar", "MODEL", "--all-products", "--k", "0", "--out", "s.parquet"], "k is 0"),
        (["recommend", "MODEL", "--all-users", "--out", "nowhere/r.parquet"], "missing or not writable"),
        (["recommend", "MODEL", "--all-users", "--out", "."], "is a folder; name a file"),
        (["evaluate", "MODEL", "nowhere.csv"], "does not exist"),
        (["evaluate", "MODEL", "strangers.csv"], "the model knows no row"),
        (["recommend", "nowhere", "--all-users"], "the model folder nowhere does not exist"),
        (["similar", "strangers.csv", "--all-products"], "is a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_questions_that_cannot_be_answered(tastemaker, model_folder, here, arguments, says):
    (here / "strangers.csv").write_text("user_id,product_id\nnobody,-5\n")
    arguments = [model_folder if argument == "MODEL" else argument for argument in arguments]
    refused(tastemaker, here, *arguments, says=says)


@pytest.mark.parametrize("kind", ["folder", "file", "below a file"])
def test_an_output_folder_that_exists_or_cannot_be_written(tastemaker, shop_files, here, kind):
    if kind == "folder":
        (here / "out").mkdir()
    else:
        (here / "out").write_text("precious")
    out, says = ("out/1", "cannot write to") if kind == "below a file" else ("out", "exists already")
    refused(tastemaker, here, "train", shop_files.purchases, "--out", out, "--preset", "workshop", says=says)


@pytest.mark.parametrize(
    "damage", ["flipped byte", "missing file", "newer format", "flipped byte of the manifest"]
)
def test_a_damaged_model_folder(tastemaker, model_folder, here, damage):
    folder = shutil.copytree(model_folder, here / "model")
    if damage == "flipped byte":
        content = bytearray((folder / "user_vectors.npy").read_bytes())
        content[1000] ^= 4
        (folder / "user_vectors.npy").write_bytes(content)
        says = "user_vectors.npy is not the file that was written"
    elif damage == "missing file":
        (folder / "products.arrow").unlink()
        says = "lacks its file products.arrow"
    elif damage == "newer format":
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
        says = "has format 99"
    else:
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace('"seed": 5', '"seed": 4'))
        says = "manifest.json is not the manifest that was written"
    refused(tastemaker, here, "recommend", "model", "--all-users", "--out", "r.parquet", says=says)
