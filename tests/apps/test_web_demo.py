"""`convert.py demo`: serves the web app on this machine alone, until Ctrl-C."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgevit_deploy.apps import runtimes
from edgevit_deploy.apps.samples import SAMPLES, find_sample
from edgevit_deploy.apps.serve import AppServer, serving
from edgevit_deploy.cli import run
from edgevit_deploy.commands import demo as command
from edgevit_deploy.errors import MissingError
from tests.helpers.bundles import edit_manifest
from tests.helpers.web import ROOT

HEADERS = json.loads((SAMPLES / "web/server.json").read_text())["headers"]


@pytest.fixture
def bundle(small_bundle: Path, tmp_path: Path) -> Path:
    copy = shutil.copytree(small_bundle, tmp_path / "bundle")
    edit_manifest(copy, lambda document: document.update(target="onnx"))
    return copy


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder in which the page's runtimes are already."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(runtimes, "_npm", lambda command, folder: (folder / "vendor").mkdir(exist_ok=True))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    vendor = runtimes.web_runtimes(find_sample("web").folder, lambda _: None)
    (vendor / "runtime.wasm").write_bytes(b"\0asm")
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    """A folder that is served, beside one that is not, and a folder mounted in it; gives its port."""
    for name in ("app", "app/js", "vendor", "secret"):
        (tmp_path / name).mkdir()
    shutil.copy(SAMPLES / "web/server.json", tmp_path / "app")
    (tmp_path / "app/index.html").write_text("page")
    (tmp_path / "app/js/a.mjs").write_text("script")
    (tmp_path / "vendor/r.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret/key").write_text("secret")
    (tmp_path / "app/link").symlink_to(tmp_path / "secret/key")
    with serving(tmp_path / "app", 0, {"vendor": tmp_path / "vendor"}) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        assert made.server_address[0] == "127.0.0.1"
        yield int(made.server_address[1])
        made.shutdown()
        thread.join()


def _get(port: int, path: str, method: str = "GET", host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host} if host else {})
    response = connection.getresponse()
    try:
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "kind", "content"),
    [
        ("/", "text/html; charset=utf-8", b"page"),
        ("/?a=1", "text/html; charset=utf-8", b"page"),
        ("/js/a.mjs", "text/javascript; charset=utf-8", b"script"),
        ("/vendor/r.wasm", "application/wasm", b"\0asm"),
    ],
)
def test_a_file_comes_with_the_headers(server: int, path: str, kind: str, content: bytes) -> None:
    status, headers, body = _get(server, path)
    assert (status, body) == (200, content)
    assert headers["Content-type"] == kind
    assert HEADERS.items() <= headers.items()
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert _get(server, path, "HEAD")[::2] == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/../secret/key",
            "/%2e%2e/secret/key",
            "/vendor/../../secret/key",
            "/vendor/%2e%2e/secret/key",
            "/js/..%5c..%5csecret",
        ),
        *("//etc/passwd", "/link", "/js", "/js/", "/vendor", "/nothing", "/%00"),
    ],
)
def test_nothing_else_is_given(server: int, path: str) -> None:
    status, headers, body = _get(server, path)
    assert status == 404
    assert b"secret" not in body.replace(path.encode(), b"")
    assert HEADERS.items() <= headers.items()


def test_a_browser_that_goes_away_is_nothing_to_tell(tmp_path: Path, server: int, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "app/large.txt").write_bytes(bytes(50_000_000))
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server)) as connection:
            connection.sendall(b"GET /large.txt HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            connection.recv(10)
    assert _get(server, "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_another_name_for_this_machine_gets_nothing(server: int) -> None:
    """A page elsewhere whose name leads here would read what is served."""
    assert _get(server, "/", host="evil.example:80")[0] == 404
    assert _get(server, "/", host=f"localhost:{server}")[0] == 200


def test_it_listens_on_the_loopback_alone(server: int) -> None:
    (address, *_) = socket.gethostbyname_ex(socket.gethostname())[2] or ["127.0.0.1"]
    if address.startswith("127."):
        address = "127.0.0.2"  # all of 127.0.0.0/8 is this machine, and only one of it was asked for
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((address, server), timeout=5)


def test_ctrl_c_ends_it(bundle: Path, cached: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "convert.py"), "demo", str(bundle), "--port", "0", "--no-browser"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "XDG_CACHE_HOME": str(cached), "TMPDIR": str(scratch)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        line = demo.stderr.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+)/ shows onnx by onnxruntime-web", line)
        assert found, line
        port = int(found[1])
        assert b"EdgeViT" in _get(port, "/")[2]
        assert json.loads(_get(port, "/bundle/manifest.json")[2])["target"] == "onnx"
        assert _get(port, "/vendor/runtime.wasm")[2] == b"\0asm"
        assert json.loads(_get(port, "/server.json")[2])["offline"] is False, "another bundle comes to this address next"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0
        assert demo.stderr.read().strip() == "stopped"
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("opens", [True, False, webbrowser.Error("none")])
def test_a_browser_is_opened_beside_the_server(
    bundle: Path, cached: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], opens: bool | Exception
) -> None:
    """One that runs in the terminal asks for the page before it returns, so that who waits for it would wait for ever."""
    seen: list[bytes] = []
    done = threading.Event()

    def browse(address: str) -> bool:
        seen.append(_get(int(address.rstrip("/").rpartition(":")[2]), "/")[2])
        if isinstance(opens, Exception):
            raise opens
        return opens

    def show(address: str) -> None:
        shown(address)
        done.set()

    def stop_when_shown(server: AppServer) -> None:
        if done.is_set():
            raise KeyboardInterrupt

    shown = command._show
    monkeypatch.setattr(command, "_show", show)
    monkeypatch.setattr(webbrowser, "open", browse)
    monkeypatch.setattr(AppServer, "service_actions", stop_when_shown)
    assert run(["demo", str(bundle), "--port", "0"]) == 0
    assert b"EdgeViT" in seen[0]
    assert ("no browser was found" in capfd.readouterr().err) == (opens is not True)


def test_a_port_in_use(bundle: Path, cached: Path, expect_error: Callable[..., str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} is in use; give another --port" in expect_error(2, "demo", bundle, "--port", port, "--no-browser")


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none(bundle: Path, cached: Path, expect_error: Callable[..., str], port: int) -> None:
    assert "expected 0 (any that is free) to 65535" in expect_error(2, "demo", bundle, f"--port={port}", "--no-browser")


def test_a_bundle_that_no_page_loads(small_bundle: Path, cached: Path, expect_error: Callable[..., str]) -> None:
    assert "the web sample loads litert, onnx" in expect_error(2, "demo", small_bundle, "--no-browser")


def test_without_npm(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_error: Callable[..., str]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install Node.js 18 or later" in expect_error(3, "demo", bundle, "--no-browser")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("says", "line"),
    [
        ("npm error code ENOTFOUND\nnpm error network request to https://registry failed", "reached no registry; connect"),
        ("npm error code EUSAGE\nnpm error in a page", "failed (npm error code EUSAGE)"),
    ],
)
def test_an_npm_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, line: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(MissingError, match=re.escape(line)):
        runtimes.web_runtimes(find_sample("web").folder, lambda _: None)
    assert list((tmp_path / "cache/edgevit-deploy/web").iterdir()) == []


def test_runtimes_are_fetched_once(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(command: list[str], folder: Path) -> None:
        raise AssertionError("fetched again")

    monkeypatch.setattr(runtimes, "_npm", never)
    assert (runtimes.web_runtimes(find_sample("web").folder, lambda _: None) / "runtime.wasm").is_file()


def test_the_command_has_its_page(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--help"]) == 0
    assert "--no-browser" in capfd.readouterr().out
