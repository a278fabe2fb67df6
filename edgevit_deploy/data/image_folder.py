"""A folder of labelled pictures: ImageNet's layout, one subfolder a class, or a flat folder with a table of labels.

    train/cat/0001.jpg              flat/0001.jpg
    train/dog/0002.jpg              flat/labels.csv     a header `file,label`, then a line a picture

Only names are read here, so that a million pictures are listed in seconds: what cannot be decoded is found, counted and named by
whoever reads it (`data.batches`). One picture of each class is opened, so that a folder without any is refused at once.
"""

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.pictures import PassedOver, is_picture
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import is_regular, read_bounded
from edgevit_deploy.spec import MAX_LABELS_BYTES

TABLE_NAME = "labels.csv"
"""Of the table in a flat folder; its columns."""
COLUMNS = ("file", "label")

LAYOUT = f"expected one subfolder of pictures a class, or pictures beside a {TABLE_NAME} with the columns {','.join(COLUMNS)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder:
    """Labelled pictures, in the order of their classes and then of their names.

    Attributes:
        root: the folder.
        classes: names in class order: as they were given, else sorted.
        files: of each picture, relative to `root`, with forward slashes.
        targets: the class of each, int64 (pictures,), 0 to classes - 1.
        passed_over: hidden files, and folders within a class.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]
    targets: NDArray[np.int64]
    passed_over: tuple[PassedOver, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def path(self, index: int) -> Path:
        """Return where a picture lies."""
        return self.root / self.files[index]

    def digest(self) -> str:
        """Return a SHA-256 over the classes, and the name, class and size in bytes of every picture; contents are not read.

        Raises:
            UsageError: a picture is gone.
        """
        state = hashlib.sha256(repr(self.classes).encode())
        for index, (file, target) in enumerate(zip(self.files, self.targets.tolist(), strict=True)):
            try:
                size = self.path(index).stat().st_size
            except OSError as error:
                raise UsageError(f"{self.path(index)}: cannot be read ({error.strerror}); list the folder again") from error
            state.update(f"{file}\0{target}\0{size}\n".encode("utf-8", "surrogateescape"))
        return state.hexdigest()

    def sample(self, count: int, seed: int) -> NDArray[np.int64]:
        """Return the positions of a seeded sample, stratified: each class has its share of `count`, to within one picture."""
        if count >= len(self):
            return np.arange(len(self))
        random = np.random.default_rng(seed)
        shuffled = random.permutation(len(self))
        by_class = [shuffled[self.targets[shuffled] == target] for target in range(len(self.classes))]
        # The k-th of the n pictures of a class stands at (k + 1/2) / n: the first `count` of all are every class's share.
        places = np.concatenate([(np.arange(len(members)) + 0.5) / max(1, len(members)) for members in by_class])
        return np.sort(np.concatenate(by_class)[np.argsort(places, kind="stable")[:count]])


def open_image_folder(root: Path, *, flag: str = "--data", classes: Sequence[str] | None = None) -> ImageFolder:
    """List a folder of labelled pictures.

    Args:
        root: the folder.
        flag: with which the user named it, for errors.
        classes: names in class order; the sorted names of the subfolders (or of the table's labels) when None.

    Raises:
        UsageError: no such folder, neither layout, one class, a class without a picture, or names that are not `classes`.
    """
    if not root.is_dir():
        raise UsageError(f"{flag} {root}: not a folder; {LAYOUT}")
    table = root / TABLE_NAME
    found, passed_over = _listed_in(table, flag) if is_regular(table) else _subfolders(root, flag)
    names = tuple(sorted(found)) if classes is None else tuple(classes)
    check_same_classes(names, found, f"{flag} {root}")
    if len(names) < 2:
        raise UsageError(f"{flag} {root}: one class, {names[0]!r}; two at least can be told apart: {LAYOUT}")
    for name in names:
        if not any(is_picture(root / file) for file in found[name]):
            raise UsageError(f"{flag} {root}: no picture of class {name!r}; add some, or remove the class")
    return ImageFolder(
        root=root,
        classes=names,
        files=tuple(file for name in names for file in found[name]),
        targets=np.repeat(np.arange(len(names)), [len(found[name]) for name in names]),
        passed_over=passed_over,
    )


def is_image_folder(root: Path) -> bool:
    """Say whether a folder is laid out in one of the two ways."""
    try:
        return is_regular(root / TABLE_NAME) or any(entry.is_dir() and not entry.name.startswith(".") for entry in root.iterdir())
    except OSError:
        return False


def check_same_classes(wanted: Sequence[str], found: "Sequence[str] | dict[str, list[str]]", where: str) -> None:
    """Refuse class names that differ; they are matched by name, never by position.

    Raises:
        UsageError: a name of one is not in the other; the first of each side are named.
    """
    missing = [name for name in wanted if name not in set(found)]
    unknown = sorted(set(found) - set(wanted))
    if not missing and not unknown:
        return
    sides = [f"without {_some(missing)}"] if missing else []
    sides += [f"with {_some(unknown)}, not among them"] if unknown else []
    raise UsageError(
        f"{where}: {len(found)} classes, {' and '.join(sides)}; the {len(wanted)} expected are {_some(wanted)}; "
        "rename the folders, or give their names in class order with --labels FILE"
    )


def _some(names: Sequence[str], shown: int = 3) -> str:
    first = ", ".join(repr(name) for name in names[:shown])
    return first if len(names) <= shown else f"{first} and {len(names) - shown} more"


def _subfolders(root: Path, flag: str) -> tuple[dict[str, list[str]], tuple[PassedOver, ...]]:
    """Return the files of each subfolder, and what else is there; nested folders belong to their class."""
    found: dict[str, list[str]] = {}
    passed_over: list[PassedOver] = []
    for entry in _entries(root, flag):
        if entry.name.startswith("."):
            passed_over.append(PassedOver(file=entry.name, why="hidden"))
        elif not entry.is_dir():
            passed_over.append(PassedOver(file=entry.name, why="beside the class folders"))
        else:
            found[entry.name] = _files_below(root, entry.name, passed_over, flag)
    if not found:
        raise UsageError(f"{flag} {root}: no subfolder in it; {LAYOUT}")
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise UsageError(f"{flag} {root}: no picture of class {_some(empty)}; add some, or remove the folder")
    return found, tuple(passed_over)


def _files_below(root: Path, name: str, passed_over: list[PassedOver], flag: str) -> list[str]:
    files = []
    for entry in _entries(root / name, flag):
        file = f"{name}/{entry.name}"
        if entry.name.startswith("."):
            passed_over.append(PassedOver(file=file, why="hidden"))
        elif entry.is_dir():
            files += _files_below(root, file, passed_over, flag)
        else:
            files.append(file)
    return files


def _entries(folder: Path, flag: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"{flag} {folder}: cannot be read ({error.strerror}); check its permissions") from error


def _listed_in(table: Path, flag: str) -> tuple[dict[str, list[str]], tuple[PassedOver, ...]]:
    """Read the table of a flat folder; every file that it names must be there, inside the folder."""
    try:
        lines = read_bounded(table, MAX_LABELS_BYTES).decode("utf-8-sig").splitlines()
        rows = list(csv.reader(lines, strict=True))
    except OSError as error:
        raise UsageError(f"{flag} {table}: cannot be read ({error.strerror}); check its permissions") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{flag} {table}: not a table of comma-separated values in UTF-8 ({error}); save it as one") from error
    if not rows or tuple(cell.strip() for cell in rows[0]) != COLUMNS:
        raise UsageError(f"{flag} {table}: its first line is not {','.join(COLUMNS)}; write that header")
    found: dict[str, list[str]] = {}
    seen: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != 2 or not all(cell.strip() for cell in row):
            raise UsageError(f"{flag} {table}: line {number} is not FILE,LABEL; mend it")
        file, label = (cell.strip() for cell in row)
        if seen.setdefault(file, label) != label:
            raise UsageError(
                f"{flag} {table}: line {number} says that {file} is {label!r}, an earlier one {seen[file]!r}; mend it"
            )
        if ".." in Path(file).parts or Path(file).is_absolute() or not is_regular(table.parent / file):
            raise UsageError(f"{flag} {table}: line {number} names {file}, which is no file of this folder; mend it")
        if file not in (files := found.setdefault(label, [])):
            files.append(file)
    if not found:
        raise UsageError(f"{flag} {table}: no picture in it; write a line FILE,LABEL for each")
    return {label: sorted(files) for label, files in found.items()}, ()
