"""Real database servers and an object store for tests, each on a port of its own; a test that needs an absent one is skipped."""

from __future__ import annotations

import base64
import glob
import hmac
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from email.utils import formatdate
from pathlib import Path

import pytest

PASSWORD = "s3cr:et@x"
SPELLED = "s3cr%3Aet%40x"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def _as_user(name: str) -> list[str]:
    """Servers refuse to run as root."""
    return ["runuser", "-u", name, "--"] if os.getuid() == 0 else []


@contextmanager
def _running(command: list[str], port: int, **options: object) -> Iterator[None]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, **options)
        try:
            for _ in range(600):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if process.poll() is not None:
                    said.seek(0)
                    raise RuntimeError(f"{command[-4:]} ended: {said.read()[-2000:]!r}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _home(owner: str) -> Path:
    home = Path(tempfile.mkdtemp(prefix="tastemaker-server-"))
    if os.getuid() == 0:
        shutil.chown(home, owner)
    home.chmod(0o755)
    return home


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Run PostgreSQL and yield its URI, which holds a password with signs in it."""
    with postgresql_that_crashes() as server:
        yield server.uri


class Crashing:
    """A PostgreSQL server that can crash and come back on the same port, with what it had committed."""

    def __init__(self, command: list[str], data: Path, port: int) -> None:
        self.uri = f"postgresql://shop:{SPELLED}@127.0.0.1:{port}/postgres"
        self._command, self._data, self._port = command, data, port
        self._stack = ExitStack()

    def start(self) -> None:
        self._stack.enter_context(_running(self._command, self._port, cwd="/"))
        _wait_for_postgresql(self.uri)

    def crash(self) -> None:
        """End all its processes at once, without a checkpoint."""
        os.kill(int((self._data / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        self.stop()

    def stop(self) -> None:
        self._stack.close()


@contextmanager
def postgresql_that_crashes() -> Iterator[Crashing]:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb") or ""]
    if not found[-1]:
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    programs, home, port = Path(found[-1]).parent, _home("postgres"), free_port()
    try:
        (home / "password").write_text(PASSWORD)
        (home / "password").chmod(0o644)
        start = [
            str(programs / "initdb"), "-D", str(home / "data"), "-U", "shop", "-A", "scram-sha-256",
            f"--pwfile={home / 'password'}", "--no-sync", "-E", "UTF8", "--locale=C",
        ]  # fmt: skip
        subprocess.run([*_as_user("postgres"), *start], check=True, capture_output=True, cwd="/")
        serve = [
            str(programs / "postgres"), "-D", str(home / "data"), "-p", str(port), "-k", str(home),
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
        ]  # fmt: skip
        server = Crashing([*_as_user("postgres"), *serve], home / "data", port)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def new_database(uri: str, name: str) -> str:
    """Make a database on the server of another and return its URI."""
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    return f"{uri.rpartition('/')[0]}/{name}"


def _wait_for_postgresql(uri: str) -> None:
    import adbc_driver_postgresql.dbapi as postgresql

    for _ in range(100):
        with suppress(postgresql.Error):
            postgresql.connect(uri).close()
            return
        time.sleep(0.1)


@contextmanager
def mysql_server() -> Iterator[str]:
    """Run MariaDB and yield its URI."""
    server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if server is None or install is None:
        pytest.skip("no MariaDB on this machine: apt-get install mariadb-server")
    home, port = _home("mysql"), free_port()
    try:
        made = [
            install,
            "--no-defaults",
            f"--datadir={home / 'data'}",
            "--auth-root-authentication-method=normal",
        ]
        subprocess.run([*_as_user("mysql"), *made], check=True, capture_output=True, cwd="/")
        (home / "start.sql").write_text(
            "CREATE DATABASE shop;\n"  # a statement a line
            f"CREATE USER 'shop'@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON shop.* TO 'shop'@'%';\n"
            f"CREATE USER 'shop'@'localhost' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON shop.* TO 'shop'@'localhost';\n"
        )
        (home / "start.sql").chmod(0o644)
        serve = [
            server, "--no-defaults", f"--datadir={home / 'data'}", f"--port={port}", f"--socket={home / 's'}",
            "--bind-address=127.0.0.1", f"--init-file={home / 'start.sql'}", f"--pid-file={home / 'pid'}",
        ]  # fmt: skip
        with _running([*_as_user("mysql"), *serve], port, cwd="/"):
            yield f"mysql://shop:{SPELLED}@127.0.0.1:{port}/shop"
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def s3_server() -> Iterator[str]:
    """Run an S3-compatible server and yield its end point."""
    pytest.importorskip("moto", reason="no S3-compatible server: pip install 'moto[server]'")
    pytest.importorskip("flask", reason="no S3-compatible server: pip install 'moto[server]'")
    port = free_port()
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        yield f"http://127.0.0.1:{port}"


AZURITE = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
)
"""The account that Microsoft's emulator has, and its published key"""


@contextmanager
def azure_server() -> Iterator[str]:
    """Run Microsoft's emulator of Azure's blobs, and yield its end point."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("no emulator of Azure: npm install -g azurite")
    port = free_port()
    where = [
        "--inMemoryPersistence",
        "--skipApiVersionCheck",
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        str(port),
    ]
    with _running([program, *where], port):
        yield f"http://127.0.0.1:{port}"


def make_container(end: str, name: str) -> None:
    """Make a container of the emulator, by a request that its shared key signs."""
    account, key = AZURITE
    stamp = f"x-ms-date:{formatdate(usegmt=True)}\nx-ms-version:2021-08-06"
    signed = "PUT" + "\n" * 12 + f"{stamp}\n/{account}/{account}/{name}\nrestype:container"
    digest = hmac.digest(base64.b64decode(key), signed.encode(), "sha256")
    headers = dict(line.split(":", 1) for line in stamp.split("\n"))
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
    asked = urllib.request.Request(f"{end}/{account}/{name}?restype=container", method="PUT", headers=headers)
    urllib.request.urlopen(asked, timeout=20).close()
