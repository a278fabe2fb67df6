"""`--images`: a folder of pictures, or a tree of labelled ones; which of them can be read, and what the crop shows of them."""

import csv
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.batches import PictureStream
from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.data.image_folder import TABLE_NAME, is_header, list_folder, list_subfolders
from edgevit_deploy.data.pictures import EXPECTED, PassedOver, is_picture, named, picture_size, why_not
from edgevit_deploy.data.preprocess import resized_size
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import is_folder, open_regular
from edgevit_deploy.spec import PADDED, Preprocess

SAMPLED = 32
"""Pictures by which a folder is judged, spread evenly: their sizes in bytes and in pixels."""

MAX_HEADER_BYTES = 4096
"""Of the first line of a table of labels."""

WORTH_WORKERS_BYTES = 64 * 2**20
"""Of pictures; fewer are decoded in the time that it takes to start processes."""

MAX_WORKERS = 4

Pixels = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFolder:
    """What a folder of pictures holds: the names of the pictures, sorted, and what else lies there.

    Attributes:
        root: the folder.
        names: of the pictures, relative to it.
        labels: the class of each, where its subfolders or its table tell; empty where nothing does.
        passed_over: what is not run.
        strict: that nothing may be passed over.
    """

    root: Path = Path()
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    strict: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where the pictures lie."""
        return tuple(map(self.path, range(len(self.names))))

    def path(self, position: int) -> Path:
        """Return where one picture lies."""
        return self.root / self.names[position]

    def spread(self, count: int) -> tuple[int, ...]:
        """Return the positions of at most `count` of the pictures, evenly over the sorted names."""
        count = min(count, len(self.names))
        return tuple(index * len(self.names) // count for index in range(count))

    def drawn(self, count: int, seed: int) -> tuple[int, ...]:
        """Return the positions of at most `count` of the pictures, drawn without order by a seed."""
        count = min(count, len(self.names))
        chosen = np.random.default_rng(seed).choice(len(self.names), count, replace=False)
        return tuple(np.sort(chosen).tolist())

    def without(self, broken: Sequence[PassedOver]) -> "PictureFolder":
        """Return the folder with some pictures passed over, which are named by their paths.

        Raises:
            UsageError: nothing may be passed over, or no picture is left.
        """
        if not broken:
            return self
        names = {str(Path(item.file).relative_to(self.root)): item.why for item in broken}
        kept = [position for position, name in enumerate(self.names) if name not in names]
        found = replace(
            self,
            names=tuple(self.names[position] for position in kept),
            labels=tuple(self.labels[position] for position in kept) if self.labels else (),
            passed_over=(*self.passed_over, *(PassedOver(file=name, why=why) for name, why in names.items())),
        )
        if not kept:
            raise UsageError(f"--images {self.root}: no picture in it, only {named(found.passed_over)}; give {EXPECTED} files")
        found.check_strict()
        return found

    def check_strict(self) -> None:
        """Refuse what is passed over where nothing may be.

        Raises:
            UsageError: naming the first of it.
        """
        if self.strict and self.passed_over:
            count = len(self.passed_over)
            raise UsageError(
                f"--strict: {count} file{'s' if count > 1 else ''} of {self.root} would be passed over: "
                f"{named(self.passed_over)}; mend or remove them, or drop --strict"
            )


NO_PICTURES = PictureFolder()


def pictures_of(images: Path | None, *, strict: bool) -> PictureFolder:
    """Return the pictures of `--images`; none where it was not given.

    Raises:
        UsageError: `strict` without a folder to be strict about, or as `find_pictures`.
    """
    if images is not None:
        return find_pictures(images, strict=strict)
    if strict:
        raise UsageError("--strict is about the pictures of --images, which are not given; add --images DIR, or drop --strict")
    return NO_PICTURES


def find_pictures(folder: Path, *, strict: bool = False, flag: str = "--images") -> PictureFolder:
    """Look for pictures: those that a table of labels names; else those of the folder, by their headers; else those of a tree.

    Args:
        folder: with pictures, with a table of labels or none; or with a subfolder of them for each class (`data.image_folder`).
        strict: refuse what would be passed over.
        flag: that named the folder, for the messages.

    Raises:
        UsageError: it is no folder, or there is no picture in it; the table says what cannot be; or something is passed over and
            `strict`.
    """
    if not is_folder(folder):
        raise UsageError(f"{flag} {folder}: not a folder; give a folder of pictures")
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{flag} {folder}: cannot be read ({error.strerror}); check its permissions") from error
    reasons = {path.name: why_not(path) for path in entries}
    names = tuple(name for name, why in reasons.items() if not why)
    passed_over = tuple(PassedOver(file=name, why=why) for name, why in reasons.items() if why)
    labels: tuple[str, ...] = ()
    tabled = _has_table(folder)
    if tabled or not names:
        listing = list_folder(folder, flag) if tabled else list_subfolders(folder, flag)
        pictures = [(file, label) for label, files in sorted(listing.classes.items()) for file in files]
        if any(is_picture(folder / file) for file, _ in pictures):
            names, labels = tuple(file for file, _ in pictures), tuple(label for _, label in pictures)
            passed_over = tuple(listing.passed_over)
    if not names:
        found = f"only {named(passed_over)}" if passed_over else "it is empty"
        raise UsageError(
            f"{flag} {folder}: no picture in it, {found}; give a folder of {EXPECTED} files, or one with a subfolder a class"
        )
    pictures_found = PictureFolder(root=folder, names=names, labels=labels, passed_over=passed_over, strict=strict)
    pictures_found.check_strict()
    return pictures_found


def _has_table(folder: Path) -> bool:
    """Say whether a folder has a table of labels; a file of that name with another header is somebody else's."""
    try:
        with open_regular(folder / TABLE_NAME) as file:
            header = next(csv.reader([file.readline(MAX_HEADER_BYTES).decode("utf-8-sig")]), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return is_header(header)


def stream(folder: PictureFolder, preprocess: Preprocess, batch: int, positions: Sequence[int] | None = None) -> PictureStream:
    """Return the pictures of a folder, or those at some positions, decoded by as many processes as are worth their start."""
    wanted = range(len(folder.names)) if positions is None else positions
    return PictureStream(
        path=folder.path,
        positions=wanted,
        preprocess=preprocess,
        batch=batch,
        workers=_worth_workers(folder, len(wanted)),
    )


def read_some(
    folder: PictureFolder, count: int, preprocess: Preprocess, step: Callable[[str], None]
) -> tuple[Pixels, PictureFolder]:
    """Decode every picture of a folder, and keep the pixels of at most `count`, spread evenly; of a broken one, another's.

    Returns:
        name -> pixels as `data.preprocess.read_pixels` gives them; and the folder with what is broken passed over.

    Raises:
        UsageError: no picture can be read, or one cannot and the folder is strict.
    """
    wanted, tell = set(folder.spread(count)), now_and_then(step)
    kept: Pixels = {}
    broken: list[PassedOver] = []
    done = missing = 0
    with closing(iter(stream(folder, preprocess, SAMPLED))) as batches:
        for batch in batches:
            tell(f"reading the photographs: {done} of {len(folder.names)}")
            decoded = batch.positions.tolist()
            missing += len(wanted.intersection(range(done, done + SAMPLED)).difference(decoded))
            for position, pixels in zip(decoded, batch.pixels, strict=True):
                if position in wanted or missing:
                    missing -= position not in wanted
                    kept[folder.names[position]] = pixels.copy()  # the others of its batch are let go
            broken += batch.broken
            done += SAMPLED
    return kept, folder.without(broken)


def crop_note(folder: PictureFolder, preprocess: Preprocess) -> str:
    """Say that pictures are enlarged and the crop then cuts them, where a sample of the folder shows such; nothing elsewhere."""
    shown = preprocess.crop
    if preprocess.fit in PADDED:
        return ""
    for position in folder.spread(SAMPLED):
        size = picture_size(folder.path(position))
        resized = resized_size(size, preprocess) if size else shown
        if size is None or resized[0] <= size[0] or resized[1] <= size[1] or resized == shown:
            continue
        height, width = (f"{min(1, cut / side):.0%}" for cut, side in zip(shown, resized, strict=True))
        shares = f"{height} of each side" if height == width else f"{height} of the height and {width} of the width"
        whole = resized_size(size, replace(preprocess, resize=shown)) == shown
        return (
            f"pictures of {size[0]} x {size[1]} are enlarged to {resized[0]} x {resized[1]} and the crop shows "
            f"{shown[0]} x {shown[1]} of them, {shares}; a conversion with --crop-ratio 1"
            f"{'' if whole else ' --resize-mode stretch'} shows all"
        )
    return ""


def _worth_workers(folder: PictureFolder, count: int) -> int:
    sampled = [_bytes(folder.path(position)) for position in folder.spread(SAMPLED)]
    expected_bytes = sum(sampled) / max(1, len(sampled)) * count
    return min(MAX_WORKERS, os.cpu_count() or 1) if expected_bytes > WORTH_WORKERS_BYTES else 0


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
