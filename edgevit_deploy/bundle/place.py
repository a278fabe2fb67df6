"""A bundle's place: locked while it is written, exchanged in one call of the system, and repaired by the next run.

Beside a place NAME there are, for the time of a run, `.NAME.lock`, held by the run that writes, and the folder `.NAME.partial`.
In it are our mark, the bundle being written and, for a moment, the one that makes room for it. Whatever a killed run leaves, the
next one puts right. Nothing is ever removed but what was written here: the files that a manifest records, and what else is in a
folder with our mark.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgevit_deploy.bundle.disk import FULL, Needs, Room
from edgevit_deploy.bundle.exchange import exchange
from edgevit_deploy.bundle.lock import locked
from edgevit_deploy.bundle.manifest import MANIFEST_NAME, Manifest, read_manifest
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import is_regular, real_path
from edgevit_deploy.process.interrupts import INTERRUPTS
from edgevit_deploy.process.supervisor import writes

MARK = ".being-written-by-edgevit-deploy"
NEW, OLD = "new", "old"
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL)
FAILED_SUFFIX = ".failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedBundle:
    """A bundle being written in `folder`; nobody sees it before `publish`."""

    folder: Path
    destination: Path

    def publish(self) -> Path:
        """Put the bundle in its place, replacing an older one as a whole, and return that place.

        Raises:
            UsageError: something that is not ours has come to lie there meanwhile.
            KeyboardInterrupt: a signal came while the bundle was put in place; it is there, and the interrupt says so.
        """
        self._put(self.destination)
        failed = _failed(self.destination)
        if (manifest := _ours(failed)) is not None:
            _remove(failed, manifest)
        return self.destination

    def publish_changed(self) -> Path:
        """Put the same bundle in its place again, with something added; one that failed and lies beside it is another one."""
        self._put(self.destination)
        return self.destination

    def publish_failed(self) -> Path:
        """Keep a bundle that failed parity as `<name>.failed`, for study; an older good one stays in its place."""
        self._put(_failed(self.destination))
        return _failed(self.destination)

    def _put(self, place: Path) -> None:
        check_replaceable(place)
        INTERRUPTS.raise_if_arrived()
        try:
            with INTERRUPTS.held():
                _replace(self.folder, place)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; {place} is written and whole") from None


@contextmanager
def staged_bundle(destination: Path, needs: Needs = Needs()) -> Iterator[StagedBundle]:  # noqa: B008 - frozen
    """Give a folder to write a bundle into, on the same disk as its place; unpublished, it is removed at the end.

    Args:
        destination: the bundle's place.
        needs: what the bundle takes of the disk.

    Raises:
        UsageError: the place cannot be written, holds something that is not a bundle, another run writes there, or the disk is
            full.
    """
    with _translated_disk_errors(destination):
        check_place(destination)
        writes(destination)
        lock = locked(_beside(destination, "lock"), destination)
        with _made(destination.parent), lock, _partial_folder(destination, needs) as folder:
            yield StagedBundle(folder=folder, destination=destination)


@contextmanager
def _partial_folder(destination: Path, needs: Needs) -> Iterator[Path]:
    """Give the folder to write in, in a hidden one with our mark; whatever is left of both at the end is removed."""
    _repair(destination)
    room = Room.at(destination, needs)
    folder = _partial(destination) / NEW
    try:
        folder.parent.mkdir()
        (folder.parent / MARK).touch()
        folder.mkdir()
        yield folder
    except UsageError:
        raise
    except Exception as error:  # before the folder is removed, and with it what has filled the disk
        room.explain(error)
        raise
    finally:
        _clear(destination)


def check_place(destination: Path) -> None:
    """Refuse what cannot become a bundle's place: ask before the work that the bundle takes.

    Raises:
        UsageError: it cannot be written, it lies in a bundle, or there or beside it, where a failed bundle goes, is something
            that is not a bundle.
    """
    with _translated_disk_errors(destination):
        _check_writable(destination)
        check_outside_bundles(destination.parent)
        for place in (destination, _failed(destination)):
            check_replaceable(place)


def check_replaceable(place: Path) -> None:
    """Refuse a place with anything in it that was not written here.

    Raises:
        UsageError: a file, a link, a folder without a manifest of ours, or one with files that its manifest does not record.
    """
    if not place.is_symlink() and not place.exists():
        return
    if place.is_symlink() or not (place / MANIFEST_NAME).is_file():
        raise UsageError(f"{place} exists and is not a bundle; move it away or give another --output")
    try:
        manifest = read_manifest(place)
    except UsageError as error:
        raise UsageError(
            f"{place} exists and is not a bundle of ours ({error}); move it away or give another --output"
        ) from error
    if unknown := sorted(files_in(place) - _recorded(manifest)):
        raise UsageError(
            f"{place} has {unknown[0]!r} in it, which was not written with the bundle and would be lost; "
            "move it away or give another --output"
        )


def check_outside_bundles(output: Path) -> None:
    """Refuse a place for anything that no bundle records: ask before the work whose result goes there.

    Raises:
        UsageError: the place is a bundle or lies in one, which would then no longer verify.
    """
    place = real_path(output)
    for folder in (place, *place.parents):
        if is_regular(folder / MANIFEST_NAME) and _is_of_ours(folder):
            raise UsageError(f"--output {output} lies in the bundle {folder}, which would then no longer verify; put it beside")


def _is_of_ours(folder: Path) -> bool:
    """Say whether the manifest in a folder is a bundle's: browser extensions have one of that name too."""
    try:
        read_manifest(folder)
    except UsageError:
        return False
    return True


def files_in(bundle: Path) -> set[str]:
    """Return the path inside of everything in a bundle but folders, and but what a file manager puts into every folder."""
    return {path.relative_to(bundle).as_posix() for path in _leaves(bundle) if not is_clutter(path.name)}


def is_clutter(name: str) -> bool:
    """Say whether a file is one of those that the file managers of macOS and Windows leave behind."""
    return name.startswith("._") or name in (".DS_Store", "Thumbs.db", "desktop.ini")


def _leaves(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]


def _recorded(manifest: Manifest) -> set[str]:
    return {MANIFEST_NAME, *(record.path for record in manifest.files)}


def _ours(place: Path) -> Manifest | None:
    """Return the manifest of a folder that holds a bundle of ours and nothing else; None for anything else, or nothing."""
    try:
        check_replaceable(place)
        return read_manifest(place)
    except UsageError:
        return None


def _replace(new: Path, place: Path) -> None:
    """Put a folder in a place, in one step where the system can; what was there before lies beside the new one then."""
    if not place.exists():
        new.rename(place)
    elif not exchange(new, place):
        place.rename(new.with_name(OLD))
        new.rename(place)


def _remove(bundle: Path, manifest: Manifest) -> None:
    """Remove the files of a bundle, and its folders where nothing else is in them."""
    for path in [bundle / name for name in _recorded(manifest)] + [path for path in _leaves(bundle) if is_clutter(path.name)]:
        path.unlink(missing_ok=True)
    for folder in sorted((path for path in bundle.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):
            folder.rmdir()
    with suppress(OSError):
        bundle.rmdir()


def _repair(destination: Path) -> None:
    """Put right what a killed run has left beside a place; the place is locked.

    Raises:
        UsageError: there is something of that name which is not ours.
    """
    old = _partial(destination) / OLD
    if not destination.exists() and _ours(old) is not None:  # killed between two renames
        old.rename(destination)
    _clear(destination)
    if _partial(destination).is_symlink() or _partial(destination).exists():
        raise UsageError(f"{_partial(destination)} is in the way and was not written here; move it away")


def _clear(destination: Path) -> None:
    """Remove the folder that a bundle was written in, but no file of an older bundle that no manifest records."""
    partial = _partial(destination)
    if not (partial / MARK).is_file() and any(partial.glob("*")):
        return
    for bundle in (partial / NEW, partial / OLD):
        if (bundle / MANIFEST_NAME).is_file():
            with suppress(UsageError):
                _remove(bundle, read_manifest(bundle))
            if files_in(bundle):
                return
    shutil.rmtree(partial, ignore_errors=True)


def _beside(destination: Path, what: str) -> Path:
    return destination.with_name(f".{destination.name}.{what}")


def _partial(destination: Path) -> Path:
    return _beside(destination, "partial")


def _failed(destination: Path) -> Path:
    return destination.with_name(f"{destination.name}{FAILED_SUFFIX}")


def _check_writable(destination: Path) -> None:
    if "\0" in str(destination):
        raise UsageError(f"{destination} has a zero byte in its name; give another --output")
    for parent in destination.parents:
        if parent.exists():
            if not parent.is_dir():
                raise UsageError(f"{parent} is a file, so nothing can be written below it; give another --output")
            if not os.access(parent, os.W_OK | os.X_OK):
                raise UsageError(f"{parent} is not writable; give another --output")
            return


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; what is still empty at the end is removed again."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for each in missing:
            with suppress(OSError):
                each.rmdir()


@contextmanager
def _translated_disk_errors(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise UsageError(
                f"no space left for {destination} ({error.strerror}); free space, or give another --output"
            ) from error
        if error.errno in FORBIDDEN or not destination.parent.is_dir():
            raise UsageError(f"{destination} cannot be written ({error.strerror or error}); give another --output") from error
        raise
