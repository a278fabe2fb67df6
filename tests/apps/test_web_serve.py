"""The web sample's own server, in Node.js: who is answered, and what a browser that goes away leaves."""

import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgevit_deploy.apps.samples import SAMPLES
from tests.helpers.apps import need


def _started(folder: Path, port: str) -> subprocess.Popen[str]:
    need(shutil.which("node"), "Node.js")
    pipe, environment = subprocess.PIPE, {**os.environ, "PORT": port}
    return subprocess.Popen(["node", "serve.mjs"], cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("serve.mjs", "server.json", "index.html", "package.json"):
        shutil.copy(SAMPLES / "web" / name, tmp_path)
    (tmp_path / "large.bin").write_bytes(bytes(20_000_000))
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[int, int]]:
    """Gives its process and its port."""
    with _started(folder, "0") as running:
        assert running.stdout is not None
        try:
            yield running.pid, int(running.stdout.readline().split()[0].rstrip("/").rpartition(":")[2])
        finally:
            running.terminate()


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1:1", 200), ("localhost", 200), ("evil.example:80", 404), ("", 404)])
def test_another_name_for_this_machine_gets_nothing(server: tuple[int, int], host: str, status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server[1], timeout=10)
    connection.request("GET", "/", headers={"Host": host})
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files by /proc")
def test_a_browser_that_goes_away_leaves_no_open_file(server: tuple[int, int]) -> None:
    process, port = server

    def still_open() -> int:
        return sum("large.bin" in os.path.realpath(entry) for entry in Path(f"/proc/{process}/fd").iterdir())

    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /large.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            connection.recv(10)
    end = time.monotonic() + 2
    while still_open() and time.monotonic() < end:
        time.sleep(0.02)
    assert still_open() == 0


@pytest.mark.parametrize("port", ["abc", "-1", "65536", "80.5"])
def test_a_port_that_is_none(folder: Path, port: str) -> None:
    with _started(folder, port) as ended:
        _, said = ended.communicate(timeout=10)
    assert ended.returncode == 2
    assert said == f"PORT={port}: expected 0 (any that is free) to 65535\n"
