"""A folder of a web app on 127.0.0.1, with the headers that its `server.json` asks for: threads need two of them."""

import errno
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import is_regular, real_path

LOOPBACK = "127.0.0.1"
SETTINGS_NAME = "server.json"


def keep_nothing_offline(folder: Path) -> None:
    """Let the app in a folder leave nothing in a browser: the next one at this address may be another."""
    settings = msgspec.json.decode((folder / SETTINGS_NAME).read_bytes())
    (folder / SETTINGS_NAME).write_bytes(msgspec.json.encode({**settings, "offline": False}))


@contextmanager
def serving(folder: Path, port: int, mounted: Mapping[str, Path]) -> Iterator[ThreadingHTTPServer]:
    """Give a server of a folder that listens already; who calls `serve_forever` answers.

    Args:
        folder: of the app; `SETTINGS_NAME` in it has the headers.
        port: 0 for any that is free.
        mounted: names in `folder` that are other folders.

    Raises:
        UsageError: the port is in use, or nobody may listen there.
    """
    if not 0 <= port < 2**16:
        raise UsageError(f"--port {port}: expected 0 (any that is free) to 65535")
    settings = msgspec.json.decode((folder / SETTINGS_NAME).read_bytes())
    handler = partial(AppHandler, folder=folder, mounted=mounted, settings=settings)
    try:
        server = AppServer((LOOPBACK, port), handler)
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on ({error.strerror})"
        raise UsageError(f"port {port} {why}; give another --port, or --port 0 for any that is free") from error
    with server:
        yield server


class AppServer(ThreadingHTTPServer):
    """Answers several requests at a time, and none of them keeps the program from ending."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has gone before it had all: it does so whenever a page is loaded anew."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class AppHandler(SimpleHTTPRequestHandler):
    """Answers with files of the app and nothing else: no lists of folders, no way out by `..` or by a link."""

    def __init__(self, *args: Any, folder: Path, mounted: Mapping[str, Path], settings: dict[str, Any]) -> None:
        self.mounted, self.settings = mounted, settings
        super().__init__(*args, directory=str(folder))

    def do_GET(self) -> None:
        """Answer with a file."""
        if self._inside():
            super().do_GET()

    def do_HEAD(self) -> None:
        """Answer with a file's headers."""
        if self._inside():
            super().do_HEAD()

    def translate_path(self, path: str) -> str:
        """Return the file for a request's path; the mounted folders are where they are."""
        inside = Path(super().translate_path(path)).relative_to(self.directory)
        root = self.mounted.get(inside.parts[0]) if inside.parts else None
        file = Path(self.directory, inside) if root is None else Path(root, *inside.parts[1:])
        return str(file / "index.html" if path.split("?")[0].endswith("/") else file)

    def guess_type(self, path: Any) -> str:
        """Return the type by our own list: that of the system may call a script text."""
        types: dict[str, str] = self.settings["types"]
        return types.get(Path(str(path)).suffix, "application/octet-stream")

    def end_headers(self) -> None:
        """Send our own headers with every answer, errors too."""
        for name, value in self.settings["headers"].items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing: each picture of a page would be a line."""

    def _inside(self) -> bool:
        """Say whether a request is for a file of ours by a name of this machine; another site's page may not ask by its own."""
        host = self.headers.get("Host", "").partition(":")[0]
        file = Path(self.translate_path(self.path))
        roots = [real_path(root) for root in (Path(self.directory), *self.mounted.values())]
        if host in (LOOPBACK, "localhost") and is_regular(file) and any(real_path(file).is_relative_to(root) for root in roots):
            return True
        self.send_error(HTTPStatus.NOT_FOUND)
        return False
