"""A night in Airflow: one task.

Put it into the folder of DAGs of a worker that has tastemaker and the shop's folder. A night that failed (exit code 1) is tried
again, since a database may be back; one that a check stopped (3) fails at once, since it would be stopped again. In both cases the
older version serves on. Passwords that shop.toml names as ${NAME} come from the worker's environment.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

from airflow.exceptions import AirflowFailException
from airflow.sdk import dag, task

COMMAND = ["/opt/tastemaker/bin/tastemaker", "run", "/srv/shop/shop.toml"]
STOPPED = 3


@dag(schedule="15 3 * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False, max_active_runs=1)
def tastemaker_nights() -> None:
    """Every night: read, check, learn, publish, switch."""

    @task(retries=2, retry_delay=timedelta(minutes=15), execution_timeout=timedelta(hours=6))
    def night() -> None:
        code = subprocess.run(COMMAND, check=False).returncode
        if code == STOPPED:
            raise AirflowFailException("a check stopped the night; the log of this task says which, and why")
        if code:
            raise RuntimeError(f"the night failed with exit code {code}")

    night()


tastemaker_nights()
