"""Fetching: verified, never half, never twice, and one clear sentence when it fails."""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tastemaker.data import fetch
from tastemaker.data.fetch import ASOS_FILES, ASOS_SOURCE, fetch_asos
from tastemaker.errors import UnreadableFile

CONTENT = {"purchases.parquet": b"PAR1" + bytes(range(256)) * 2_000, "users.csv": b"u1\nu2\n"}


class Server:
    """A server of files on this machine that notes what it was asked for."""

    def __init__(self) -> None:
        self.files = dict(CONTENT)
        self.asked: list[str] = []
        self.cut: str | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                server.asked.append(name)
                body = server.files.get(name)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if name == server.cut else body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "ASOS_SOURCE", server.url)
    sums = {name: hashlib.sha256(body).hexdigest() for name, body in CONTENT.items()}
    monkeypatch.setattr(fetch, "ASOS_FILES", sums)
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_all_files_arrive_whole_and_nothing_else_is_left(server: Server, tmp_path: Path) -> None:
    folder = fetch_asos(tmp_path / "new" / "asos")
    assert folder == tmp_path / "new" / "asos"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def test_without_a_folder_the_files_go_below_the_current_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fetch_asos() == Path("data/asos")
    assert names(tmp_path / "data" / "asos") == set(CONTENT)


def test_a_verified_file_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch_asos(tmp_path)
    fetch_asos(tmp_path)
    assert sorted(server.asked) == sorted(CONTENT)


def test_a_damaged_file_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_bytes(b"u1\n")
    fetch_asos(tmp_path)
    assert (tmp_path / "users.csv").read_bytes() == CONTENT["users.csv"]


def test_a_wrong_checksum_is_one_sentence_with_a_remedy_and_leaves_nothing(
    server: Server, tmp_path: Path
) -> None:
    server.files["purchases.parquet"] = b"something else"
    with pytest.raises(
        UnreadableFile, match=r"^[^\n]*SHA-256 is not [0-9a-f]{64}\. Download it by hand[^\n]*$"
    ):
        fetch_asos(tmp_path)
    assert names(tmp_path) == set()


def test_a_wrong_download_does_not_touch_an_older_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_bytes(b"mine")
    server.files["users.csv"] = b"something else"
    with pytest.raises(UnreadableFile, match=r"users\.csv"):
        fetch_asos(tmp_path)
    assert (tmp_path / "users.csv").read_bytes() == b"mine"


def test_a_connection_that_breaks_off_leaves_nothing_half_written(server: Server, tmp_path: Path) -> None:
    server.cut = "purchases.parquet"
    with pytest.raises(UnreadableFile, match=r"purchases\.parquet could not be fetched[^\n]*\. Download it"):
        fetch_asos(tmp_path)
    assert names(tmp_path) == set()


def test_a_failure_keeps_the_files_that_were_verified_before(server: Server, tmp_path: Path) -> None:
    del server.files["users.csv"]
    with pytest.raises(UnreadableFile, match=r"^users\.csv could not be fetched .*the server answered 404"):
        fetch_asos(tmp_path)
    assert names(tmp_path) == {"purchases.parquet"}


def test_no_network_is_one_sentence_with_a_remedy(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        monkeypatch.setattr(fetch, "ASOS_SOURCE", f"http://127.0.0.1:{unused.getsockname()[1]}/")
        with pytest.raises(
            UnreadableFile, match=r"^[^\n]*no connection[^\n]*Download it by hand[^\n]*$"
        ) as caught:
            fetch_asos(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert names(tmp_path) == set()


def test_a_silent_server_is_given_up_on(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        monkeypatch.setattr(fetch, "ASOS_SOURCE", f"http://127.0.0.1:{mute.getsockname()[1]}/")
        monkeypatch.setattr(fetch, "PATIENCE", 0.2)
        with pytest.raises(UnreadableFile, match="no answer within"):
            fetch_asos(tmp_path)
    assert names(tmp_path) == set()


def test_a_folder_that_is_a_file_is_one_sentence_with_a_remedy(server: Server, tmp_path: Path) -> None:
    (tmp_path / "asos").write_text("a file")
    with pytest.raises(UnreadableFile, match=r"^[^\n]*cannot be written into [^\n]*--into DIR\.$"):
        fetch_asos(tmp_path / "asos")
    assert (tmp_path / "asos").read_text() == "a file"


def test_progress_ends_at_the_size_of_each_file(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    fetch_asos(tmp_path, on_progress=lambda *facts: seen.append(facts))
    assert {name: (done, total) for name, done, total in seen} == {
        name: (len(body), len(body)) for name, body in CONTENT.items()
    }
    assert all(0 <= done <= total for _, done, total in seen)


def test_nothing_is_printed(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fetch_asos(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("pooch").level != logging.ERROR


def test_the_list_names_the_four_files_of_one_commit() -> None:
    assert len(ASOS_FILES) == 4
    assert all(len(checksum) == 64 for checksum in ASOS_FILES.values())
    assert ASOS_SOURCE.endswith("/979e692487bbbda7d762688272f2779b3a232768/")
