"""The short form of `benchmarks/three_hosts.py`: servers and their database killed under load, nothing lost, all hosts follow."""

from __future__ import annotations

import sys
from pathlib import Path

from database_servers import postgresql_that_crashes

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from three_hosts import measured


def test_servers_and_their_database_die_under_load_and_nothing_acknowledged_is_lost_or_kept_twice(tmp_path):
    with postgresql_that_crashes() as database:
        found = measured(tmp_path, database, seconds=2, away=1.5, workers=1)
    assert all(host.purchases and host.outcomes for host in found.hosts)
    assert found.lost == {"purchases": 0, "outcomes": 0}
    assert found.twice == {"purchases": 0, "outcomes": 0}
    assert found.equal
    assert found.minute[200] > 0  # lists go on without the database
    assert set(found.minute) == {200}
    assert found.minute_posts[503] > 0
    followed = {change.what: change.late for change in found.changes}  # each was waited for on all hosts
    assert set(followed) <= {
        "a ban",
        "a removed key",
        "an experiment started",
        "an experiment stopped",
    }
    assert "a ban" in followed
