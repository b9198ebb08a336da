"""Schemathesis, which writes requests from the OpenAPI document, right ones and wrong ones, finds nothing.

What it checks: no 5xx; statuses, media types, headers and bodies are those of the document; wrong requests are refused and right
ones are not; nothing is answered without a key; other methods get 405 with `Allow`; and all of it again in sequences. Allowed:
a request may fit the schema and be refused with 422, where it names columns that this catalogue does not have; and of JSON lines
the wrong ones alone are refused.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from api_worlds import api_world

from tastemaker.serving.api.routes import OPERATIONS

EXAMPLES = os.environ.get("TASTEMAKER_EXAMPLES", "12")
"""For each operation; more take longer"""

CONFIG = """
hooks = "hooks.py"

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422", "429"]

[[operations]]
include-path = "/api/v1/events/bulk"
checks.negative_data_rejection.enabled = false
"""

HOOKS = """
import json, schemathesis

@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    entries = value if isinstance(value, list) else [value]
    return "\\n".join(json.dumps(entry) for entry in entries).encode()
"""


def test_schemathesis_finds_nothing(tmp_path, start):
    pytest.importorskip("schemathesis")
    world = api_world(tmp_path)
    settings = world.settings
    server = start(
        settings.models,
        *("--catalogue", settings.catalogue, "--keys", settings.keys, "--events", settings.events),
    )
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    (tmp_path / "hooks.py").write_text(HOOKS)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml"),
        *("run", f"{server.address}/openapi.json", "-H", f"Authorization: Bearer {world.key}"),
        *("--max-examples", EXAMPLES, "--seed", "3", "--generation-database", "none", "--no-color"),
    ]
    found = subprocess.run(command, capture_output=True, text=True, timeout=580, cwd=tmp_path, check=False)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert f"{len(OPERATIONS)} selected" in found.stdout
