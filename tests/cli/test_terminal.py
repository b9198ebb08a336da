"""What people see in a terminal of 80 columns: help, tables, bars, names of products, and files that are what they are called."""

from __future__ import annotations

import io
import re

import numba
import polars as pl
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from tastemaker.cli.app import app
from tastemaker.cli.lists.showing import print_lists
from tastemaker.cli.terminal.help import RankingCommand
from tastemaker.cli.terminal.tables import Sheet, parts_for
from tastemaker.ranking.recommend import recommend
from tastemaker.training.progress import Progress
from tastemaker.training.progress_bar import COMPILING, terminal_bar

COMMANDS = [
    "demo", "fetch", "inspect", "split", "train", "evaluate", "compare", "recommend", "similar", "index",
    "serve", "promote", "rollback", "init", "run", "history", "forget", "receipt", "doctor",
    "key new", "key list", "key remove", "events export", "events backup",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_writes_no_types_of_python_and_no_braces(command):
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert shown.exit_code == 0
    assert re.findall(r"<[a-z]|\{[A-Z]|list\[", shown.output) == []
    assert max(len(line) for line in shown.output.splitlines()) <= 80


def test_a_command_that_ranks_says_once_that_kernels_are_compiled():
    shop = typer.Typer()

    @shop.command(cls=RankingCommand)
    def rank() -> None:
        for number in (1, 1.0):
            numba.njit(lambda x: x + 1)(number)
        print("ranked")

    shown = CliRunner().invoke(shop, [])
    assert shown.exit_code == 0
    assert shown.stderr.split() == COMPILING.split()
    assert shown.stdout == "ranked\n"
    commands = typer.main.get_command(app).commands
    assert [name for name, command in commands.items() if isinstance(command, RankingCommand)] == [
        "evaluate",
        "recommend",
        "similar",
    ]


def test_the_shell_can_complete_commands():
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert "--install-completion" in shown.output


def lines_of(sheet, width):
    console = Console(file=io.StringIO(), width=width)
    for part in parts_for(sheet, width):
        console.print(part)
    return console.file.getvalue().splitlines()


WIDE = Sheet(
    ["", "ndcg@10", "recall@100", "coverage@10"],
    [
        ["best-sellers", ("0.0497", "0.0443–0.0555"), ("0.3511", "0.3354–0.3659"), "0.0167"],
        ["default", ("0.2405", "0.2290–0.2521"), ("0.7375", "0.7229–0.7512"), "0.5267"],
    ],
)


@pytest.mark.parametrize("width", range(28, 100))
def test_a_table_breaks_no_word_at_any_width(width):
    lines = lines_of(WIDE, width)
    words = set(" ".join(lines).split())
    assert {
        "ndcg@10",
        "recall@100",
        "coverage@10",
        "best-sellers",
        "0.0443–0.0555",
        "0.7229–0.7512",
        "0.5267",
    } <= words
    assert max(len(line.rstrip()) for line in lines) <= width


def test_intervals_go_below_their_means_before_a_table_is_parted():
    assert len(lines_of(WIDE, 90)) == 3
    narrow = lines_of(WIDE, 60)
    assert len(narrow) == 5
    assert narrow[2].split() == ["0.0443–0.0555", "0.3354–0.3659"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_of_a_training_keeps_the_time_left(width):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    step = {"epochs": 28, "purchases": 123_456, "accuracy": 0.1234, "stage": "choosing settings"}
    with terminal_bar(console) as watch:
        for done in (1_000, 100_000):
            watch(Progress(epoch=12, done=done, loss=5.4321, **step))
    drawn = [
        line
        for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", console.file.getvalue()))
        if line
    ]
    assert any(re.search(r"(\d+:\d\d:\d\d|-:--:--)\s*$", line) for line in drawn), drawn
    assert any("12/28" in line and "loss 5.4321" in line for line in drawn)
    assert max(map(len, drawn)) <= width


@pytest.mark.parametrize(
    ("ending", "read"),
    [
        ("parquet", pl.read_parquet),
        ("csv", pl.read_csv),
        ("tsv", lambda file: pl.read_csv(file, separator="\t")),
        ("jsonl", pl.read_ndjson),
        ("arrow", pl.read_ipc),
    ],
)
def test_a_file_of_lists_is_what_its_name_says(
    tastemaker, model_folder, workshop_model, tmp_path, ending, read
):
    users = workshop_model.users.ids.head(2).to_list()
    asked = [part for user in users for part in ("--user", user)]
    file = tmp_path / f"lists.{ending}"
    ran = tastemaker("recommend", model_folder, *asked, "--k", 3, "--out", file)
    assert ran.returncode == 0, ran.stderr
    found, expected = read(file), recommend(workshop_model, users, k=3).to_frame()
    assert found.columns == expected.columns
    assert found["product_id"].to_list() == expected["product_id"].to_list()


def test_a_file_of_an_unknown_kind_is_refused_before_anything_is_ranked(tastemaker, model_folder, tmp_path):
    ran = tastemaker("recommend", model_folder, "--all-users", "--out", tmp_path / "lists.xlsx")
    assert ran.returncode == 1
    assert "lists.xlsx cannot be written: a name ends in .parquet, .csv" in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["recommend", "similar"])
def test_a_catalogue_names_what_is_listed(tastemaker, model_folder, workshop_model, tmp_path, command):
    ids = workshop_model.products.ids
    pl.DataFrame({"product_id": ids, "name": [f"jumper-{place}" for place in range(len(ids))]}).write_csv(
        tmp_path / "products.csv"
    )
    about = ("--user", workshop_model.users.ids[0]) if command == "recommend" else ("--product", ids[0])
    ran = tastemaker(command, model_folder, *about, "--k", 3, "--catalogue", tmp_path / "products.csv")
    assert ran.returncode == 0, ran.stderr
    lines = [re.search(r"(\d+)\s+jumper-(\d+)", line) for line in ran.stdout.splitlines()]
    found = [(match[1], int(match[2])) for match in lines if match]
    assert len(found) == 3
    assert all(str(ids[place]) == product for product, place in found)


def test_lists_of_several_blocks_are_one_table(workshop_model, capsys):
    users = workshop_model.users.ids
    print_lists([recommend(workshop_model, users[:2], k=1), recommend(workshop_model, users[2:4], k=1)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert [line.split()[0] for line in lines[1:]] == users[:4].cast(pl.String).to_list()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_first_rows_of_a_log_of_many_columns_are_whole(tmp_path, width):
    rows = [
        [
            "536365",
            "85123A",
            "WHITE HANGING HEART T-LIGHT HOLDER",
            "6",
            "24.12.2010",
            "2.55",
            "17850",
            "France",
        ]
    ]
    rows += [[*rows[0][:1], "71053", "", "8", "31.12.2010", "3.39", "", "United Kingdom"]]
    names = ["Invoice", "StockCode", "Description", "Quantity", "Date", "UnitPrice", "CustomerID", "Country"]
    log = tmp_path / "log.csv"
    log.write_text("\n".join(",".join(row) for row in [names, *rows]))
    shown = CliRunner().invoke(app, ["inspect", str(log)], env={"COLUMNS": str(width), "NO_COLOR": "1"})
    assert shown.exit_code == 0
    table = shown.output.partition("understood:\n")[2].partition("Purchases in time")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width
    words = table.split()
    assert [words.count(one) for one in ("17850", "85123A", "24.12.2010", "2010-12-24", "71053")] == (
        [table.count("user: "), 1, 1, 1, 1]
    )
    assert "without a user id" in table
    assert "Description" not in table
