"""A folder of labelled pictures: ImageNet's layout, one subfolder a class, or a flat folder with a table of labels.

    train/cat/0001.jpg              flat/0001.jpg
    train/dog/0002.jpg              flat/labels.csv     a header `file,label`, then a line a picture

Only names are read here, so that a million pictures are listed in seconds: what cannot be decoded is found, counted and named by
whoever reads it (`data.batches`). One picture of each class is opened, so that a folder without any is refused at once.
"""

import csv
import hashlib
import io
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.pictures import PassedOver, is_picture
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import is_folder, is_regular, read_bounded

TABLE_NAME = "labels.csv"
"""Of the table in a flat folder; its columns."""
COLUMNS = ("file", "label")

MAX_TABLE_BYTES = 2**28
"""Of a table: several million lines."""

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test"})
"""Names of folders that hold a class folder each, and are no classes."""

LAYOUT = f"expected one subfolder of pictures a class, or pictures beside a {TABLE_NAME} with the columns {','.join(COLUMNS)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The names in a folder: of each class its files, sorted, relative to the folder; and what was passed over."""

    classes: dict[str, list[str]] = field(default_factory=dict)
    passed_over: list[PassedOver] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder:
    """Labelled pictures, in the order of their classes and then of their names.

    Attributes:
        root: the folder.
        classes: names in class order: as they were given, else sorted.
        files: of each picture, relative to `root`, with forward slashes.
        targets: the class of each, int64 (pictures,), 0 to classes - 1.
        passed_over: hidden files and folders, and what belongs to no class.
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
        root = os.path.join(self.root, "")  # noqa: PTH118 - as text
        for file, target in zip(self.files, self.targets.tolist(), strict=True):
            try:
                size = os.stat(root + file).st_size  # noqa: PTH116 - a million `Path`s take half a minute
            except OSError as error:
                raise UsageError(f"{self.root / file}: cannot be read ({error.strerror}); list the folder again") from error
            state.update(f"{file}\0{target}\0{size}\n".encode("utf-8", "surrogateescape"))
        return state.hexdigest()

    def sample(self, count: int, seed: int) -> NDArray[np.int64]:
        """Return the positions of a seeded sample, stratified: each class has its share of `count`, rounded by Webster's rule.

        Where classes of one size cannot all have the same number of pictures, the seed decides which have one more.
        """
        if count >= len(self):
            return np.arange(len(self))
        rng = np.random.default_rng(seed)
        shuffled = rng.permutation(len(self))
        by_class = shuffled[np.argsort(self.targets[shuffled], kind="stable")]
        sizes = np.bincount(self.targets)
        # The k-th of the n pictures of a class stands at (k + 1/2) / n: the first `count` of all are every class's share.
        places = np.concatenate([(np.arange(n) + 0.5) / n for n in sizes])
        turns = np.repeat(rng.permutation(len(sizes)), sizes)  # classes of one size share their places
        return np.sort(by_class[np.lexsort((turns, places))[:count]])


def open_image_folder(root: Path, *, flag: str = "--data", classes: Sequence[str] | None = None) -> ImageFolder:
    """List a folder of labelled pictures.

    Args:
        root: the folder.
        flag: with which the user named it, for errors.
        classes: names in class order; the sorted names of the subfolders (or of the table's labels) when None.

    Raises:
        UsageError: no such folder, neither layout, one class, a class without a picture, or names that are not `classes`.
    """
    listing = list_folder(root, flag)
    if not listing.classes:
        raise UsageError(f"{flag} {root}: no subfolder in it; {LAYOUT}")
    if SPLITS.issuperset(listing.classes) and any("/" in file.partition("/")[2] for file in _all(listing)):
        raise UsageError(f"{flag} {root}: its subfolders are splits, not classes; give {flag} {root / min(listing.classes)}")
    names = tuple(sorted(listing.classes)) if classes is None else tuple(classes)
    check_same_classes(names, listing.classes, f"{flag} {root}")
    if len(names) < 2:
        raise UsageError(f"{flag} {root}: one class, {names[0]!r}; two at least can be told apart: {LAYOUT}")
    empty = [name for name in names if not any(is_picture(root / file) for file in listing.classes[name])]
    if empty:
        raise UsageError(f"{flag} {root}: no picture of class {_some(empty)}; add some, or remove the class")
    return ImageFolder(
        root=root,
        classes=names,
        files=tuple(file for name in names for file in listing.classes[name]),
        targets=np.repeat(np.arange(len(names)), [len(listing.classes[name]) for name in names]),
        passed_over=tuple(listing.passed_over),
    )


def list_folder(root: Path, flag: str) -> Listing:
    """List the names in a folder of either layout; a class may turn out to have none.

    Raises:
        UsageError: no such folder, or one that cannot be read; or a table that is none, or says what cannot be.
    """
    if not is_folder(root):
        raise UsageError(f"{flag} {root}: not a folder; {LAYOUT}")
    table = root / TABLE_NAME
    return _listed_in(table, flag) if is_regular(table) else list_subfolders(root, flag)


def is_image_folder(root: Path) -> bool:
    """Say whether a folder is laid out in one of the two ways."""
    try:
        with os.scandir(root) as entries:
            return is_regular(root / TABLE_NAME) or any(_is_folder(entry) and not entry.name.startswith(".") for entry in entries)
    except OSError:
        return False


def check_same_classes(wanted: Sequence[str], found: Collection[str], where: str) -> None:
    """Refuse class names that differ; they are matched by name, never by position.

    Raises:
        UsageError: a name of one is not in the other, or is wanted twice; the first of each side are named.
    """
    if len(set(wanted)) < len(wanted):
        twice = next(name for name in wanted if wanted.count(name) > 1)
        raise UsageError(f"{where}: two classes are to be named {twice!r}, and one folder cannot be both; give each its own name")
    there, asked = set(found), set(wanted)
    missing = [name for name in wanted if name not in there]
    unknown = sorted(there - asked)
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


def _all(listing: Listing) -> list[str]:
    return [file for files in listing.classes.values() for file in files]


def list_subfolders(root: Path, flag: str) -> Listing:
    """Return the files below each subfolder, and what else is there; what lies deeper belongs to its class."""
    listing = Listing()
    above = {_identity(root, flag)}
    for entry in _entries(root, flag):
        if entry.name.startswith("."):
            listing.passed_over.append(PassedOver(file=entry.name, why="hidden"))
        elif not _is_folder(entry):
            listing.passed_over.append(PassedOver(file=entry.name, why="beside the class folders"))
        else:
            listing.classes[entry.name] = _files_below(root, entry.name, listing.passed_over, flag, above)
    return listing


def _files_below(root: Path, name: str, passed_over: list[PassedOver], flag: str, above: set[tuple[int, int]]) -> list[str]:
    """Return the files of a folder and of those in it; a link to a folder above it is passed over, since it has no end."""
    folder = root / name
    identity = _identity(folder, flag)
    if identity in above:
        passed_over.append(PassedOver(file=name, why="a link to a folder that it lies in"))
        return []
    files = []
    for entry in _entries(folder, flag):
        file = f"{name}/{entry.name}"
        if entry.name.startswith("."):
            passed_over.append(PassedOver(file=file, why="hidden"))
        elif _is_folder(entry):
            files += _files_below(root, file, passed_over, flag, above | {identity})
        else:
            files.append(file)
    return files


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Say whether an entry is a folder; a link that leads in a circle, or to where nobody may look, is a file that is broken."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(folder: Path, flag: str) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        raise _unreadable(folder, flag, error) from error
    return status.st_dev, status.st_ino


def _entries(folder: Path, flag: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, flag, error) from error


def _unreadable(path: Path, flag: str, error: OSError) -> UsageError:
    return UsageError(f"{flag} {path}: cannot be read ({error.strerror}); check its permissions")


def _listed_in(table: Path, flag: str) -> Listing:
    """Read the table of a flat folder; every file that it names must be there, inside the folder."""
    try:
        text = read_bounded(table, MAX_TABLE_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(table, flag, error) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{flag} {table}: not text in UTF-8 ({error}); save it as UTF-8") from error
    labels = _labels_of(text, table, flag)
    listing = Listing()
    for file in sorted(labels):
        listing.classes.setdefault(labels[file], []).append(file)
    for entry in _entries(table.parent, flag):
        if entry.name.startswith("."):
            listing.passed_over.append(PassedOver(file=entry.name, why="hidden"))
        elif entry.name not in labels and entry.name != table.name and not _is_folder(entry):
            listing.passed_over.append(PassedOver(file=entry.name, why=f"not in {table.name}"))
    return listing


def is_header(cells: Sequence[str]) -> bool:
    """Say whether a line is the first one of a table of labels."""
    return tuple(cell.strip() for cell in cells) == COLUMNS


def _labels_of(text: str, table: Path, flag: str) -> dict[str, str]:
    """Return the label of each file that a table names."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    labels: dict[str, str] = {}
    try:
        if not is_header(next(rows, [])):
            raise UsageError(f"{flag} {table}: its first line is not {','.join(COLUMNS)}; write that header")
        for row in rows:
            if not any(row):
                continue
            where = f"{flag} {table}: line {rows.line_num}"
            if len(row) != 2 or not all(cell.strip() for cell in row):
                raise UsageError(f"{where} is not FILE,LABEL; mend it")
            file, label = PurePath(row[0].strip()).as_posix(), row[1].strip()
            if labels.setdefault(file, label) != label:
                raise UsageError(f"{where} says that {file} is {label!r}, an earlier one {labels[file]!r}; mend it")
            if ".." in PurePath(file).parts or PurePath(file).is_absolute() or not is_regular(table.parent / file):
                raise UsageError(f"{where} names {file}, which is no file of this folder; mend it")
            if any(part.startswith(".") for part in PurePath(file).parts):
                raise UsageError(f"{where} names {file}, and what is hidden is passed over; rename it, or remove the line")
    except csv.Error as error:
        raise UsageError(f"{flag} {table}: line {rows.line_num} is not FILE,LABEL ({error}); mend it") from error
    if not labels:
        raise UsageError(f"{flag} {table}: no picture in it; write a line FILE,LABEL for each")
    return labels
