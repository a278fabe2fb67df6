"""The web sample's runtimes: fetched once by npm, as its lock file pins them, and kept in the user's cache folder."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from edgevit_deploy.errors import MissingError, first_line
from edgevit_deploy.outside.files import remove, unfinished

FETCHED = ("package.json", "package-lock.json", "vendor.mjs")
"""What decides which files a browser needs of them."""

VENDOR = "vendor"
OFFLINE_WORDS = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "network", "offline")
"""How npm says that it reaches no registry."""


def cache_folder() -> Path:
    """Return where this user's programs keep what can be fetched again."""
    if sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "edgevit-deploy"


def web_runtimes(sample: Path, step: Callable[[str], None]) -> Path:
    """Return the folder `vendor` of the web sample, fetched if it is not there yet.

    Args:
        sample: folder of the web sample.
        step: told before anything is fetched.

    Raises:
        MissingError: no npm, or it could not fetch the packages.
        OSError: the cache folder cannot be written.
    """
    digest = hashlib.sha256(b"\0".join((sample / name).read_bytes() for name in FETCHED)).hexdigest()[:16]
    place = cache_folder() / "web" / digest
    if (place / VENDOR).is_dir():
        return place / VENDOR
    npm = shutil.which("npm")
    if npm is None:
        raise MissingError(
            "the page's runtimes are fetched by npm, which is not there; install Node.js 18 or later, then run this again"
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished(place)
    remove(partial)
    try:
        partial.mkdir()
        for name in FETCHED:
            shutil.copyfile(sample / name, partial / name)
        step(f"fetching the page's runtimes once, 45 MB, into {place}")
        _npm([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], partial)
        _npm([npm, "run", "vendor"], partial)
        remove(partial / "node_modules")
        if not (place / VENDOR).is_dir():  # another one may have been faster
            partial.rename(place)
    finally:
        remove(partial)
    return place / VENDOR


def _npm(command: list[str], folder: Path) -> None:
    """Run npm in a folder.

    Raises:
        MissingError: it failed; a page of its own is one line here.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return
    what = " ".join(command[1:3])
    if any(word in done.stderr for word in OFFLINE_WORDS):
        raise MissingError(
            f"`npm {what}` reached no registry; connect to the network once, then run this again (the files are kept)"
        )
    reason = first_line(RuntimeError(done.stderr or done.stdout))
    raise MissingError(f"`npm {what}` failed ({reason}); run it in a folder that `app web` wrote, and see what it says")
