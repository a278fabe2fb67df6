"""The web sample in tests: written with a bundle in it, served, and visited by a real browser."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from edgevit_deploy.apps.runtimes import VENDOR, web_runtimes
from edgevit_deploy.apps.samples import find_sample
from edgevit_deploy.apps.serve import serving
from edgevit_deploy.apps.write import write_app
from tests.helpers.apps import need

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / "build" / "apps"
"""Where `.ci/install-apps` puts what is not the system's."""

SHOTS = ROOT / "build" / "screenshots"
DRIVER = ROOT / "tests" / "apps" / "browser" / "drive.mjs"
PACKAGES = INSTALLED / "browser"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)


def write_web_app(bundle: Path, folder: Path) -> Path:
    """Write the app with a bundle in it, whatever was proven of that, and return its folder."""
    return write_app("web", bundle, folder, unproven=True).folder


def runtimes() -> Path:
    """Return the folder of the page's runtimes, fetched by npm if nobody has."""
    need(shutil.which("npm"), "npm")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_CACHE_HOME", str(INSTALLED / "cache"))  # not the user's own
        monkeypatch.setattr(sys, "platform", "linux")
        return web_runtimes(find_sample("web").folder, lambda _: None)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve an app as `demo` does, and give its address."""
    with serving(folder, 0, {VENDOR: runtimes()}) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def served_by_node(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve an app by its own server, as its README says; gives the address and what ends it."""
    need(shutil.which("node"), "Node.js")
    shutil.copytree(runtimes(), folder / VENDOR, copy_function=os.link)
    command, environment = ["node", "serve.mjs"], {**os.environ, "PORT": "0"}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]

        def end() -> None:
            server.terminate()
            server.wait(10)

        try:
            yield address, end
        finally:
            end()


def visit(scenario: str, url: str, given: Mapping[str, Any] | None = None, *, cut: Callable[[], None] | None = None) -> Any:
    """Let the driver visit a page, and return what it saw; every request must have stayed on this machine.

    Args:
        scenario: of `drive.mjs`.
        url: of the page.
        given: what the scenario asks for.
        cut: ends the server, when the scenario says so.
    """
    need(CHROMIUM, "chromium")
    need((PACKAGES / "node_modules").is_dir(), "playwright-core")
    command = ["node", str(DRIVER), scenario, url, json.dumps(given or {})]
    environment = {**os.environ, "BROWSER_PACKAGES": str(PACKAGES), "CHROMIUM": str(CHROMIUM)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        seen = None
        for line in driver.stdout:
            message = json.loads(line)
            if "ask" in message:
                assert cut is not None, message
                cut()
                driver.stdin.write("done\n")
                driver.stdin.flush()
            else:
                seen = message["result"]
    assert seen is not None, f"{scenario} ended without a result (exit code {driver.returncode})"
    assert driver.returncode == 0, f"{scenario} ended badly (exit code {driver.returncode})"
    hosts = {urlsplit(request.removeprefix("blob:")).hostname for request in seen["requests"]}
    assert hosts == {"127.0.0.1"}
    assert seen["pageErrors"] == []
    return seen


if __name__ == "__main__":
    runtimes()
