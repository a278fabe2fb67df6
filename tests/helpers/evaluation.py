"""A trained network as a bundle of the fake target, and pictures for it: made once for all tests, for reading only."""

from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from tests.helpers import trained
from tests.helpers.fakes import register_fake
from tests.helpers.shared import made_once

LABELS_FILE = "labels.txt"


def trained_bundle() -> Path:
    """The trained network in float32, converted to the fake target with the names of its classes."""

    def make(folder: Path) -> None:
        labels = write_labels(folder / LABELS_FILE)
        flags = ["--weights", str(trained.WEIGHTS), "--image-size", "64", "--labels", str(labels), "--output", str(folder)]
        with pytest.MonkeyPatch.context() as monkeypatch:
            register_fake(monkeypatch)
            assert run(["fake", *flags]) == 0

    return made_once("trained-fake-bundle", make) / "fake-fp32"


def pictures(per_class: int) -> Path:
    """The first pictures of each class of the test set, as an ImageFolder."""

    def make(folder: Path) -> None:
        trained.write_pictures(folder / "val", "val", per_class)

    return made_once(f"fashion-val-{per_class}", make) / "val"


def write_labels(path: Path, labels: tuple[str, ...] = trained.LABELS) -> Path:
    """Write class names, one a line, and return the file."""
    path.write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    return path
