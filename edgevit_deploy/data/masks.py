"""A folder of pictures with a class for each of their pixels, and a mask that goes through the same geometry as its picture.

    DIR/images/street.jpg     DIR/masks/street.png     8 bits a pixel, indexed or grey: the number is the class, 255 is none

Only names are read when a folder is listed. A mask is drawn on its picture as it is seen, upright, and has that size. Where EXIF
turns a picture to the same size that it is stored in, nothing tells on which of the two a mask was drawn, and it is refused.
Whole numbers are never mixed.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.pictures import MAX_PIXELS, PassedOver, read_indices, read_picture, size_and_turn
from edgevit_deploy.data.preprocess import place_in_image, read_pixels, resized_size
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import is_folder
from edgevit_deploy.spec import Preprocess, Size

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGES, MASKS = "images", "masks"
IGNORED = 255
"""The number of a pixel that belongs to no class; it is neither trained on nor judged."""

MAX_CLASSES = IGNORED
LAYOUT = f"expected {IMAGES}/NAME.jpg (or another picture) and {MASKS}/NAME.png with the class of each pixel"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskFolder:
    """Pictures with masks, sorted by name.

    Attributes:
        root: the folder.
        images: of each picture, relative to `root`.
        masks: of each mask, in the same order.
        passed_over: what has no partner, and what is hidden.
    """

    root: Path
    images: tuple[str, ...]
    masks: tuple[str, ...]
    passed_over: tuple[PassedOver, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def digest(self) -> str:
        """Return a SHA-256 over names and sizes of all files; contents are not read.

        Raises:
            UsageError: a file is gone, or a link leads nowhere.
        """
        state = hashlib.sha256()
        for file in (*self.images, *self.masks):
            try:
                size = (self.root / file).stat().st_size
            except OSError as error:
                raise UsageError(
                    f"{self.root / file}: cannot be read ({error.strerror}); put it back, or remove it with its partner"
                ) from error
            state.update(f"{file}\0{size}\n".encode("utf-8", "surrogateescape"))
        return state.hexdigest()

    def why_not(self, error: UsageError, position: int) -> str:
        """Return what is wrong with a pair, without the path of either and without what to do about it."""
        mask, picture = self.root / self.masks[position], self.root / self.images[position]
        return str(error).removeprefix(f"{mask}: ").removeprefix(f"{picture}: ").partition(";")[0]

    def check_labelled(self, positions: Iterable[int], classes: int) -> None:
        """Look for a mask with a class; the first one mostly has some. Masks that cannot be used are told of where they are read.

        Raises:
            UsageError: masks can be used, and no pixel of any has a class.
        """
        usable = 0
        for position in positions:
            try:
                mask = _whole_mask(self.root / self.masks[position], self.root / self.images[position], classes)
            except UsageError:
                continue
            if any(mask.histogram()[:IGNORED]):
                return
            usable += 1
        if usable:
            raise UsageError(nothing_to_judge(self.root))

    def sample(self, count: int, seed: int) -> NDArray[np.int64]:
        """Return the positions of a seeded sample, sorted."""
        if count >= len(self):
            return np.arange(len(self))
        return np.sort(np.random.default_rng(seed).permutation(len(self))[:count])

    def read(self, position: int, preprocess: Preprocess, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Decode one picture and its mask.

        Returns:
            uint8 (height, width, 3), and the classes, uint8 (height, width), 255 where there is none.

        Raises:
            UsageError: one cannot be read, they have different sizes, nothing tells whether the mask is turned as its picture
                is, or the mask has a class that the network has not.
        """
        picture, mask = self.root / self.images[position], self.root / self.masks[position]
        return read_pixels(picture, preprocess), read_mask(mask, picture, preprocess, classes)


def open_mask_folder(root: Path, flag: str = "--data") -> MaskFolder:
    """List a folder of pictures with masks.

    Raises:
        UsageError: no such folder, not this layout, a picture without a mask, or two pictures of one name.
    """
    for part in (IMAGES, MASKS):
        if not is_folder(root / part):
            raise UsageError(f"{flag} {root}: no folder {part!r} in it; {LAYOUT}")
    images, hidden = _listed(root / IMAGES, flag)
    masks, hidden_masks = _listed(root / MASKS, flag)
    if not images:
        raise UsageError(f"{flag} {root}: no picture in {root / IMAGES}; {LAYOUT}")
    if missing := sorted(set(images) - set(masks)):
        raise UsageError(f"{flag} {root}: {images[missing[0]]} has no {MASKS}/{missing[0]}.png; add it, or remove the picture")
    alone = [PassedOver(file=masks[name], why=f"no picture in {IMAGES}") for name in sorted(set(masks) - set(images))]
    return MaskFolder(
        root=root,
        images=tuple(images[name] for name in sorted(images)),
        masks=tuple(masks[name] for name in sorted(images)),
        passed_over=(*hidden, *hidden_masks, *alone),
    )


def nothing_to_judge(root: Path) -> str:
    """Return what is said of masks without any class."""
    return f"{root}: no pixel that is judged has a class; {IGNORED} is for pixels of none, so number the classes from 0"


def absent(pixels: Sequence[int], names: Sequence[str], masks: str = "mask", shown: int = 5) -> str:
    """Say which classes no mask has; nothing where each is somewhere.

    Args:
        pixels: of each class.
        names: of the classes.
        masks: which masks, in the singular.
        shown: how many names at most.
    """
    missing = [repr(name) for name, count in zip(names, pixels, strict=True) if not count]
    if not missing:
        return ""
    more = f" and {len(missing) - shown} more" if len(missing) > shown else ""
    return (
        f"no {masks} has the class{'es' * (len(missing) > 1)} {', '.join(missing[:shown])}{more}; {IGNORED} is for pixels of none"
    )


def open_pair(folder: MaskFolder, position: int, classes: int) -> "tuple[Image, Image]":
    """Decode one picture, RGB, and its mask, both whole.

    Raises:
        UsageError: as for `MaskFolder.read`.
    """
    picture = folder.root / folder.images[position]
    return read_picture(picture), _whole_mask(folder.root / folder.masks[position], picture, classes)


def _whole_mask(path: Path, picture: Path, classes: int) -> "Image":
    """Decode a mask in its own size, and prove that it may be its picture's."""
    mask = read_indices(path)
    _check_size(path, (mask.height, mask.width), picture)
    _check_classes(path, mask, classes)
    return mask


def _check_size(path: Path, mask: Size, picture: Path) -> None:
    size, turn = size_and_turn(picture) or (None, 1)
    if mask != size:
        has = f"has {size[0]} x {size[1]}" if size else "cannot be read"
        upright = " as it is seen, turned by EXIF" if turn > 1 else ""
        raise UsageError(f"{path}: {mask[0]} x {mask[1]} pixels, and its picture {has}{upright}; make them of one size")
    if turn > 1 and (turn < 5 or size[0] == size[1]):
        raise UsageError(
            f"{path}: EXIF turns its picture, and nothing tells whether the mask was drawn before or after; "
            "save the picture as the mask has it, without EXIF"
        )


def _check_classes(path: Path, mask: "Image", classes: int) -> None:
    if beyond := [value for value, count in enumerate(mask.histogram()) if count and classes <= value != IGNORED]:
        raise UsageError(
            f"{path}: it has the class {beyond[0]}, and there are {classes}, numbered from 0; {IGNORED} is for pixels of none"
        )


def _listed(folder: Path, flag: str) -> tuple[dict[str, str], list[PassedOver]]:
    """Return name without its ending -> file relative to the folder above, and what is hidden."""
    found: dict[str, str] = {}
    hidden = []
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{flag} {folder}: cannot be read ({error.strerror}); check its permissions") from error
    for path in paths:
        file = f"{folder.name}/{path.name}"
        if path.name.startswith("."):
            hidden.append(PassedOver(file=file, why="hidden"))
        elif (first := found.setdefault(path.stem, file)) != file:
            raise UsageError(f"{flag} {folder.parent}: {first} and {file} have one name; rename one with its mask")
    return found, hidden


def read_mask(path: Path, picture: Path, preprocess: Preprocess, classes: int) -> NDArray[np.uint8]:
    """Decode a mask and put it where the preprocessing puts its picture; what the picture does not cover is 255.

    Args:
        path: of the mask.
        picture: whose mask it is.
        preprocess: of the picture; the mask is resized to the nearest pixel.
        classes: of the network.

    Raises:
        UsageError: as for `MaskFolder.read`.
    """
    from PIL.Image import Resampling

    mask = _whole_mask(path, picture, classes)
    height, width = resized_size((mask.height, mask.width), preprocess)
    if height * width > MAX_PIXELS:
        raise UsageError(f"{path}: it would be resized to {height} x {width} pixels; cut the strip")
    placed = np.asarray(place_in_image(mask.resize((width, height), Resampling.NEAREST), preprocess, IGNORED))
    return placed.astype(np.uint8)
