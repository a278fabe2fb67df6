"""What the web app says of offline use: "yes" when everything that it needs is kept, and why not before and otherwise."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from edgevit_deploy.apps.serve import AppHandler
from tests.helpers.cpp import tiny_bundle
from tests.helpers.web import served, visit, write_web_app

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_web_app(tiny_bundle("onnx"), tmp_path_factory.mktemp("web") / "app")


@contextmanager
def answering(monkeypatch: pytest.MonkeyPatch, app: Path, ending: str, before: Any) -> Iterator[str]:
    """Serve the app; whether a request for a path with such an end is answered, `before` says when it comes."""
    answer = AppHandler.do_GET

    def do_get(self: AppHandler) -> None:
        if not urlsplit(self.path).path.endswith(ending) or before():
            answer(self)
        else:
            self.send_error(404)

    monkeypatch.setattr(AppHandler, "do_GET", do_get)
    with served(app) as url:
        yield url


def files_of(seen: Any) -> set[str]:
    """What the page asked for of its runtime and its bundle, by the requests that the browser made."""
    paths = (urlsplit(request).path for request in seen["requests"])
    return {path for path in paths if path.startswith(("/vendor/", "/bundle/"))}


def test_not_before_the_runtime_is_kept(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    with answering(monkeypatch, app, ".wasm", lambda: released.wait(60)) as url:
        seen = visit("offline", url, {"held": True}, cut=released.set)
    assert seen["before"] == "no: not everything is loaded yet"
    found = re.fullmatch(r"yes: all (\d+) files of it are kept in this browser", seen["page"]["offline"])
    assert found, seen["page"]["offline"]
    shell = {"index", *(path.name for path in app.glob("*.css"))} | {str(path) for path in (app / "js").rglob("*.js")}
    assert int(found[1]) == len(shell) + len({"icon.svg", "server.json"}) + len(files_of(seen))


@pytest.mark.nightly
def test_not_without_a_file_of_the_page(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has it, and what would keep it does not get it."""
    times = iter([True])
    with answering(monkeypatch, app, "/js/camera.js", lambda: next(times, False)) as url:
        seen = visit("offline", url)
    assert seen["page"]["status"].startswith("Ready")
    assert seen["page"]["offline"].startswith("no: this page was not kept within 4 s")


def test_not_where_there_is_no_room(app: Path) -> None:
    with served(app) as url:
        seen = visit("offline", url, {"room": 4_000_000})
    assert seen["page"]["status"].startswith("Ready")
    assert re.match(r"no: of \d+ files \d+ could not be kept \((vendor|bundle)/.*\)", seen["page"]["offline"])
