"""Settings of `tastemaker serve`: flags above the environment, the environment above a file, and no mistake passes."""

from __future__ import annotations

from datetime import date

import pytest
from typer.testing import CliRunner

from tastemaker.cli.service.given_settings import PREFIX
from tastemaker.errors import SettingProblem
from tastemaker.serving.front.api_keys import new_key, read_keys
from tastemaker.serving.front.settings import Settings


@pytest.fixture
def settings_of(monkeypatch, tmp_path):
    """Run ``tastemaker serve`` up to the point where it would serve, and return its settings."""
    import typer

    from tastemaker.cli.service.serve import serve
    from tastemaker.cli.terminal.help import Command

    given: list[Settings] = []
    monkeypatch.setattr(
        "tastemaker.serving.server.serve", lambda settings, tell: given.append(settings) or True
    )
    monkeypatch.setattr("tastemaker.serving.front.logs.log_in_json", lambda: None)
    app = typer.Typer()
    app.command(cls=Command)(serve)

    def run(*flags, file=None, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(PREFIX + name, value)
        if file is not None:
            (tmp_path / "serve.toml").write_text(file)
            flags = (*flags, "--config", str(tmp_path / "serve.toml"))
        result = CliRunner().invoke(app, list(flags))
        if isinstance(result.exception, SettingProblem):
            raise result.exception
        assert result.exit_code == 0, result.output
        return given[-1]

    return run


FILE = 'models = "shop"\nworkers = 3\nmax-body = 5000\nallowed-host = ["a", "b"]\nquiet = true\n'


def test_a_file_says_what_flags_would(settings_of):
    found = settings_of(file=FILE)
    assert (str(found.models), found.workers, found.body_bytes) == ("shop", 3, 5000)
    assert (found.allowed_hosts, found.log_requests) == (("a", "b"), False)


def test_the_environment_counts_more_than_the_file_and_a_flag_more_than_both(settings_of):
    found = settings_of("--workers", "5", file=FILE, WORKERS="4", MAX_BODY="6000", ALLOWED_HOST="c, d")
    assert (found.workers, found.body_bytes, found.allowed_hosts) == (5, 6000, ("c", "d"))


@pytest.mark.parametrize(
    ("file", "environment", "said"),
    [
        ("wokers = 3", {}, "'wokers', which is none; did you mean workers"),
        (
            FILE,
            {"WOKERS": "3"},
            "TASTEMAKER_SERVE_WOKERS, which is none; did you mean TASTEMAKER_SERVE_WORKERS",
        ),
        ("workers = 'many'", {}, "workers in .* is 'many'"),
        ("workers = [1]", {}, "must be one value"),
        ("quiet = 3", {}, "must be true or false"),
        ("workers =", {}, "is no TOML"),
    ],
)
def test_a_mistake_in_a_setting_is_refused_and_named(settings_of, file, environment, said):
    with pytest.raises(SettingProblem, match=said):
        settings_of(file=file, **environment)


def test_a_key_has_a_name_and_a_last_day(tmp_path):
    file = tmp_path / "keys.json"
    _, text = new_key(file, "admin", name="anna", expires="2999-01-31")
    key = read_keys(file).find(text)
    assert (key.name, key.expires) == ("anna", "2999-01-31")
    assert [key.is_over(date(2999, 1, day)) for day in (31,)] == [False]
    assert key.is_over(date(2999, 2, 1))
    for options, said in (
        ({"name": "anna"}, "a key 'anna' already"),
        ({"name": "a b"}, "cannot be a key's"),
        ({"expires": "soon"}, "write it such as 2027-01-31"),
        ({"expires": "2001-01-01"}, "is past"),
    ):
        with pytest.raises(SettingProblem, match=said):
            new_key(file, "read", **options)
