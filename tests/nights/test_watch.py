"""The watch after a switch: figures of the service against the bounds, and the way back."""

from __future__ import annotations

import http.server
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from night_worlds import make_world, serving_world
from starlette.testclient import TestClient

from tastemaker.errors import SettingProblem
from tastemaker.nights.shop_file import Watch, read_shop_file
from tastemaker.nights.watching.clicks import SURE, Clicks, clicks_between
from tastemaker.nights.watching.watch import Figures, broken, figures, watched
from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.app import create_app
from tastemaker.serving.front.api_keys import new_key
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.measuring.outcome_store import Outcome, Outcomes

PAGE = """\
# TYPE tastemaker_requests_total counter
tastemaker_requests_total{{model="recommender",route="/api/v1",status="200",version="2"}} {good}
tastemaker_requests_total{{model="recommender",route="/api/v1",status="500",version="2"}} {bad}
tastemaker_requests_total{{model="recommender",route="/api/v1",status="200",version="1"}} 900.0
tastemaker_requests_total{{model="other",route="/api/v1",status="500",version="2"}} 900.0
# TYPE tastemaker_empty_answers_total counter
tastemaker_empty_answers_total{{model="recommender"}} {empty}
# TYPE tastemaker_request_seconds histogram
tastemaker_request_seconds_bucket{{route="/a",le="0.01"}} {quick}
tastemaker_request_seconds_bucket{{route="/a",le="0.5"}} {all}
tastemaker_request_seconds_bucket{{route="/a",le="+Inf"}} {all}
tastemaker_request_seconds_count{{route="/a"}} {all}
tastemaker_request_seconds_sum{{route="/a"}} 1.0
"""


def page(good=0, bad=0, empty=0, quick=0, slow=0):
    return PAGE.format(good=good, bad=bad, empty=empty, quick=quick, all=quick + slow)


# Figures ------------------------------------------------------------------------------------------------------


def test_only_answers_of_the_version_count():
    found = figures(page(good=95, bad=5, empty=7), model="recommender", version=2)
    assert (found.requests, found.errors, found.empty) == (100, 5, 7)


def test_the_p99_is_the_end_of_the_bucket_that_holds_it():
    assert figures(page(quick=99, slow=1), model="recommender", version=2).p99_ms == 10
    assert figures(page(quick=98, slow=2), model="recommender", version=2).p99_ms == 500
    assert Figures().p99_ms is None


def test_what_was_counted_before_the_switch_does_not_count():
    before = figures(page(good=50, bad=50, quick=10, slow=90), model="recommender", version=2)
    after = figures(page(good=250, bad=51, quick=210, slow=90), model="recommender", version=2)
    found = after.since(before)
    assert (found.requests, found.errors, found.p99_ms) == (201, 1, 10)


# Bounds -------------------------------------------------------------------------------------------------------

WATCH = Watch(url="http://x", most_errors=0.01, most_empty=0.05, most_p99_ms=100)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (page(good=99, bad=1, quick=100), None),
        (page(good=98, bad=2, quick=100), "2.0% of 100 answers were errors, at most 1.0% may be (most_errors)"),
        (page(good=100, empty=5, quick=100), None),
        (page(good=100, empty=6, quick=100), "6.0% of 100 answers were empty, at most 5.0% may be (most_empty)"),
        (page(good=100, quick=98, slow=2), "the slowest hundredth took 500 ms and more; at most 100 may be (most_p99_ms)"),
        (page(good=50, bad=49, empty=90, slow=99), None),  # too few to tell
    ],
)  # fmt: skip
def test_each_bound_is_broken_beyond_it_and_not_at_it(found, says):
    assert broken(figures(found, model="recommender", version=2), WATCH) == says


# The watch ----------------------------------------------------------------------------------------------------


class Service:
    """A service whose pages are told beforehand, one a look; the last one stays."""

    def __init__(self, *pages):
        self.pages, self.keys = list(pages), []

    def __enter__(self):
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                service.keys.append(self.headers["Authorization"])
                text = service.pages.pop(0) if len(service.pages) > 1 else service.pages[0]
                self.send_response(200 if text is not None and self.path == "/metrics" else 503)
                self.end_headers()
                self.wfile.write((text or "").encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def look(service, events=None, **bounds):
    """Watch a service by a clock that only pauses move, however long its answers take."""
    pauses = []
    watch = Watch(url=service.url, minutes=0.5, **bounds)
    found = watched(
        watch, model="recommender", version=2, events=events, sleep=pauses.append, clock=lambda: sum(pauses)
    )
    return (*found, pauses)


def test_a_service_within_its_bounds_is_watched_to_the_end():
    with Service(page(), page(good=150, quick=150)) as service:
        trouble, seen, pauses = look(service)
    assert trouble is None
    assert seen == "watched 0.5 minutes: 150 answers, 0 errors, p99 within 10 ms."
    assert pauses == [5.0] * 6


def test_a_broken_bound_ends_the_watch_at_once():
    with Service(page(), page(good=80, bad=20)) as service:
        trouble, _, pauses = look(service)
    assert "20.0% of 100 answers were errors" in trouble
    assert len(pauses) == 1


def test_a_service_that_went_away_is_a_broken_bound_and_one_that_never_was_there_is_not():
    with Service(page(), None) as service:
        trouble, _, _ = look(service)
    assert trouble == f"{service.url} does not answer"
    with Service(None) as service:
        trouble, seen, _ = look(service)
    assert (trouble, seen) == (None, f"{service.url} does not answer; it was not watched.")


def test_the_key_of_the_environment_opens_the_metrics(monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "tm_secret")
    with Service(page()) as service:
        look(service, key="SHOP_KEY")
    assert set(service.keys) == {"Bearer tm_secret"}


# The way back -------------------------------------------------------------------------------------------------


def test_a_night_whose_service_breaks_goes_back_by_itself_and_says_so(tmp_path):
    world = make_world(tmp_path / "shop")
    world.sell(0)
    assert world.night().outcome == "published"
    world.sell(2)
    with Service(page(), page(good=10, bad=190)) as service:
        world.describe(f'[watch]\nurl = "{service.url}"\nminutes = 0.02\n')
        run = world.night()
    assert (run.outcome, run.stopped, run.version) == ("rolled back", True, 2)
    assert "95.0% of 200 answers were errors" in run.why[0]
    assert run.why[0].endswith("stable went back to version 1.")
    assert world.stable() == 1
    again = world.night()  # the same inputs are not tried a second time
    assert (again.outcome, world.stable()) == ("nothing new", 1)
    world.describe()
    world.sell(3)
    assert world.night().version == 3
    assert world.stable() == 3


def test_a_real_service_is_watched_through_its_own_metrics(tmp_path):
    """The names of the counters are those of `serve`: what is counted there is what the watch reads."""
    world = make_world(tmp_path / "shop")
    world.sell(0)
    world.night()
    with serving_world(world) as client:
        for user in ("c-000001", "c-000002", "nobody"):
            assert client.get(f"/api/v1/recommendations/users/{user}").status_code == 200
        text = client.get("/metrics").text
    found = figures(text, model="recommender", version=1)
    assert (found.requests, found.errors, found.empty) == (3, 0, 0)
    assert found.p99_ms is not None


# Clicks -------------------------------------------------------------------------------------------------------


def outcomes(file, *groups):
    """Keep outcomes as a server does: ``(seconds from now, how many shown, how many clicked)``."""
    now = time.time_ns() // 1000
    with closing(Events(file)) as events, closing(Outcomes(events)) as kept:
        for after, shown, clicked in groups:
            for kind, count in (("shown", shown), ("clicked", clicked), ("bought", 3)):
                moment = now + int(after * 1e6)
                kept.add([Outcome(f"u{number}", kind, moment, "p", "list") for number in range(count)])
    return file


def test_what_is_posted_to_a_server_is_what_the_watch_counts(tmp_path):
    world = make_world(tmp_path / "shop")
    world.sell(0)
    assert world.night().outcome == "published"
    _, key = new_key(tmp_path / "keys.json", "admin")
    settings = Settings(
        models=world.folder / "models",
        keys=tmp_path / "keys.json",
        events=tmp_path / "events.db",
        log_requests=False,
    )
    began = time.time_ns() // 1000
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        client.headers["X-API-Key"] = key
        body = [
            {"user": f"u{number}", "kind": kind, "product": str(number)}
            for kind, count in (("shown", 40), ("clicked", 3), ("basket", 2))
            for number in range(count)
        ]
        answer = client.post("/api/v1/outcomes", json={"outcomes": body})
        assert answer.status_code == 200, answer.text
    assert clicks_between(tmp_path / "events.db", began - 1, 1 << 62) == Clicks(40, 3)


@pytest.mark.parametrize(
    ("after", "broke"),
    [((2000, 20), True), ((2000, 60), False), ((2000, 48), False), ((90, 0), False), ((0, 0), False)],
)
def test_a_click_rate_far_below_that_of_the_week_before_breaks_its_bound(tmp_path, after, broke):
    """Before 5 %, of which half must be left; 2.4 % of 2,000 may be an accident, and 90 are too few."""
    file = outcomes(tmp_path / "events.db", (-3600, 9000, 450), (-9 * 86_400, 9000, 9000), (3600, *after))
    with Service(page(good=500, quick=500)) as service:
        trouble, seen, _ = look(service, file, least_clicks=0.5)
    assert (trouble is not None) == broke
    if broke:
        assert (
            "the click rate is 1.0% (20 of 2,000), and was 5.0%: less than 50% of it (least_clicks)" in seen
        )
    else:
        assert f"of {after[0]:,} shown, before 5.0%" in seen


def test_without_outcomes_the_click_rate_is_not_watched_and_that_is_said(tmp_path):
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.execute("CREATE TABLE purchases (user TEXT)")
        connection.commit()
    for file in (tmp_path / "old.db", tmp_path / "none.db"):
        with Service(page(good=500, quick=500)) as service:
            trouble, seen, _ = look(service, file, least_clicks=0.5)
        assert (trouble, "no outcomes, so the click rate was not watched" in seen) == (None, True)


@given(shown=st.integers(1, 5000), part=st.floats(0, 1))
def test_the_upper_limit_of_a_click_rate_solves_wilsons_equation(shown, part):
    """The limit L is where |p - L| is z standard errors of L."""
    found = Clicks(shown, int(part * shown))
    high = found.highest
    assert found.rate - 1e-12 <= high <= 1 + 1e-12
    assert (high - found.rate) ** 2 == pytest.approx(SURE**2 * high * (1 - high) / shown, abs=1e-9)


def test_the_bound_needs_the_file_in_which_outcomes_are(tmp_path):
    world = make_world(tmp_path)
    world.describe("[watch]\nleast_clicks = 0.5\n")
    with pytest.raises(SettingProblem, match=r"name the file of events in \[live\], or the database"):
        read_shop_file(world.file)
