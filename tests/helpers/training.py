"""A training that is over in seconds: 80 real pictures of ten classes, XXS at 32 pixels, five updates an epoch."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgevit_deploy import load_model, train_model
from edgevit_deploy.data.image_folder import open_image_folder
from edgevit_deploy.data.preprocess import normalise, read_pixels
from edgevit_deploy.train.presets import preset
from edgevit_deploy.train.recipe import Recipe, changed
from edgevit_deploy.train.records import Measured, read_metrics
from tests.helpers.trained import write_pictures

ROOT = Path(__file__).parents[2]
PER_CLASS, VAL_PER_CLASS, CLASSES, BATCH = 8, 3, 10, 16
UPDATES_AN_EPOCH = PER_CLASS * CLASSES // BATCH

SETTINGS: dict[str, Any] = {
    "image_size": 32,
    "small_epochs": 0.0,
    "epochs": 2.0,
    "batch_size": BATCH,
    "warmup_epochs": 0.0,
    "drop_path": 0.1,
}
QUICK = changed(preset("small"), SETTINGS)
"""Two epochs of everything but what mixes pictures."""

FLAGS: dict[str, object] = {
    "recipe": "small",
    "log-every": 1,
    "processes": 1,
    **{name.replace("_", "-"): value for name, value in SETTINGS.items()},
}
"""The same training, for the command."""


def tokens(data: Path, output: Path, **changes: object) -> list[str]:
    """The command line of a training; a change of True is a flag without a value, one of None leaves a flag out."""
    flags = FLAGS | {"data": data, "output": output} | {name.replace("_", "-"): value for name, value in changes.items()}
    said = [[f"--{name}"] if value is True else [f"--{name}", str(value)] for name, value in flags.items() if value is not None]
    return ["train", *(token for flag in said for token in flag)]


def write_data(root: Path) -> Path:
    """Write `train` and `val`, and return the folder that holds both."""
    write_pictures(root / "train", "train", PER_CLASS)
    write_pictures(root / "val", "val", VAL_PER_CLASS)
    return root


def losses(folder: Path) -> list[float]:
    return [line.loss for line in metrics(folder)]


def metrics(folder: Path) -> list[Measured]:
    return read_metrics(folder)


def environment() -> dict[str, str]:
    """With as many threads as here: another number of them adds up in another order."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}


def start(*tokens: object, launcher: tuple[str, ...] = (), **options: Any) -> "subprocess.Popen[str]":
    """Start the command in a process of its own, under torchrun if it is the launcher."""
    command = [*launcher, "-m", "edgevit_deploy.train"] if launcher else [sys.executable, "convert.py", "train"]
    return subprocess.Popen(
        [*command, *map(str, tokens)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def torchrun(processes: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))


def metadata(file: Path) -> dict[str, Any]:
    """What our checkpoint says of itself."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        found: dict[str, Any] = json.loads(opened.metadata()["edgevit_deploy"])
    return found


class Stopped(Exception):  # noqa: N818 - stands for a process that ends
    pass


def train_until(when: Callable[[Measured], bool], data: Path, folder: Path, recipe: Recipe, **options: Any) -> None:
    """Train in one process, which ends in the first evaluation for which `when` holds, before its weights and state are saved."""

    def stop(measured: Measured) -> None:
        if when(measured):
            raise Stopped

    with pytest.raises(Stopped):
        train_model(data, recipe=recipe, output=folder, processes=1, log_every=1, on_epoch=stop, **options)


def counted(file: Path, pictures: Path) -> tuple[int, int]:
    """How many pictures a checkpoint gets right, and has among its first five: picture by picture, from the file alone."""
    loaded = load_model(weights=file)
    listed = open_image_folder(pictures)
    pixels = np.stack([read_pixels(listed.path(index), loaded.spec.preprocess) for index in range(len(listed))])
    inputs = torch.from_numpy(normalise(pixels, loaded.spec.preprocess, "tensor"))
    with torch.inference_mode():
        best = loaded.network(inputs).topk(5).indices == torch.from_numpy(listed.targets).unsqueeze(1)
    return int(best[:, 0].sum()), int(best.sum())


def while_flushing(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Let something happen once, while the first file is half-written."""
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", flush)
        happens()
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
