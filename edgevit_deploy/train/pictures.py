"""The pictures of a training: which are trained on and which evaluate, and a digest that tells when they have changed."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.image_folder import ImageFolder, is_image_folder, open_image_folder
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.loading import read_label_lines
from edgevit_deploy.spec import MAX_SEED
from edgevit_deploy.train.draws import Purpose, draw

TRAIN, VAL = "train", "val"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Some pictures of a folder.

    Attributes:
        folder: with all of them.
        positions: which ones, sorted, int64.
    """

    folder: ImageFolder
    positions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What a training sees.

    Attributes:
        train: what the weights follow from.
        val: what they are evaluated on.
        sha256: of names, classes and sizes of all files, and of the split.
    """

    train: Share
    val: Share
    sha256: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in class order."""
        return self.train.folder.classes


def open_pictures(data: Path, *, labels: Path | None, val_share: float | None, seed: int) -> Pictures:
    """List the training pictures and those that evaluate.

    Args:
        data: folder with `train` and `val`, each a folder of labelled pictures; with `val_share` it may be one itself.
        labels: text file with the class names in class order; sorted folder names when None.
        val_share: share of the training pictures, 0 to 1, that are held out for evaluation where there is no `val`.
        seed: of the choice of those.

    Raises:
        UsageError: a folder is missing or unusable, or classes contradict each other.
    """
    names = None if labels is None else read_class_names(labels)
    if val_share is not None and not 0 < val_share < 1:
        raise UsageError(f"--val-share {val_share:g}: expected a share between 0 and 1, such as 0.1")
    root = data / TRAIN
    if not root.is_dir():
        if val_share is None or not is_image_folder(data):
            raise UsageError(
                f"--data {data}: no folder {TRAIN!r} in it; put the pictures into {data / TRAIN / 'CLASS'} and "
                f"{data / VAL / 'CLASS'}, or give a folder of one subfolder a class with --val-share 0.1"
            )
        root = data
    elif val_share is not None and (data / VAL).is_dir():
        raise UsageError(f"--val-share {val_share:g}: {data / VAL} is there, and its pictures evaluate; drop --val-share")
    folder = open_image_folder(root, classes=names)
    broken = next((name for name in folder.classes if name.splitlines() != [name.strip()]), None)
    if broken is not None:
        raise UsageError(f"--data {root}: {broken!r} is not one line without blanks around it; rename that class")
    if val_share is not None:
        return _held_out(folder, val_share, seed)
    if not (data / VAL).is_dir():
        raise UsageError(
            f"--data {data}: no folder {VAL!r} beside {TRAIN!r}; add --val-share 0.1 to hold out a tenth of the pictures"
        )
    val = open_image_folder(data / VAL, classes=folder.classes)
    return Pictures(
        train=Share(folder=folder, positions=np.arange(len(folder))),
        val=Share(folder=val, positions=np.arange(len(val))),
        sha256=_digest(folder.digest(), val.digest()),
    )


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names, one a line, in class order.

    Raises:
        UsageError: unreadable, not UTF-8, an empty line, or a name twice.
    """
    names = read_label_lines(path)
    if "" in names or not names:
        raise UsageError(f"--labels {path}: line {names.index('') + 1 if names else 1} is empty; give one name a line")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UsageError(f"--labels {path}: {name!r} is in it twice; give each class a name of its own")
    return names


def _held_out(folder: ImageFolder, share: float, seed: int) -> Pictures:
    held = folder.sample(round(share * len(folder)), draw(Purpose.HOLD_OUT, seed) & MAX_SEED)
    left = np.setdiff1d(np.arange(len(folder)), held)
    for positions, what in ((held, "evaluate"), (left, "train on")):
        missing = sorted(set(range(len(folder.classes))) - set(folder.targets[positions].tolist()))
        if missing:
            raise UsageError(
                f"--val-share {share:g}: no picture of class {folder.classes[missing[0]]!r} would be left to {what}; add some, "
                "or give another share"
            )
    return Pictures(
        train=Share(folder=folder, positions=left),
        val=Share(folder=folder, positions=held),
        sha256=_digest(folder.digest(), hashlib.sha256(held.tobytes()).hexdigest()),
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
