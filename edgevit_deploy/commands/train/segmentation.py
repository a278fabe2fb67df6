"""`convert.py train --task segment`: flags that it has, and what people see of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgevit_deploy.commands.console import print_json, print_table, progress, say
from edgevit_deploy.commands.train.flags import TrainFlags
from edgevit_deploy.commands.train.view import percent, write_plot
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import PROGRAM, PreprocessChoice

if TYPE_CHECKING:
    from edgevit_deploy.train.records import Measured
    from edgevit_deploy.train.segmenter import SegmenterRun

COLUMNS = ("epoch", "loss", "learning rate", "mIoU", "mIoU averaged", "pixels averaged", "images/s", "elapsed")
OPTIONAL = ("learning rate", "images/s")
NOT_OFFERED = (
    "ablations",
    "val_share",
    "resume",
    "processes",
    "checkpoint_every",
    "tensorboard",
    "qat",
    "precision",
    "calibration",
)
"""Flags that only the training of a classifier has."""


def train_on_masks(flags: TrainFlags, preprocess: PreprocessChoice, choices: Mapping[str, object]) -> int:
    """Train a segmenter and show how it went.

    Raises:
        UsageError: a flag that it has not, and what the training refuses.
    """
    from edgevit_deploy.api import train_segmentation
    from edgevit_deploy.train.presets import preset
    from edgevit_deploy.train.recipe import changed

    for name in NOT_OFFERED:
        if getattr(flags, name) not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} is for a classifier's training, and --task segment has none; drop it")
    run = train_segmentation(
        flags.data,
        recipe=changed(preset(flags.recipe or "segment"), choices),
        model=flags.model,
        finetune=flags.finetune,
        labels=flags.labels,
        preprocess=preprocess,
        output=flags.output,
        workers=flags.workers,
        device=flags.device,
        compiled=flags.compile,
        strict=flags.strict,
        log_every=flags.log_every,
        evaluate_every=flags.evaluate_every,
        progress=progress,
        on_epoch=say_epoch,
    )
    write_plot(run, "mIoU")
    print_run(run)
    if flags.json:
        print_json(document(run))
    return 0


def say_epoch(measured: "Measured") -> None:
    """Say how an evaluation went."""
    say(
        f"epoch {measured.epoch:g} at {measured.image_size} pixels: loss {measured.loss:.4f}, mIoU {percent(measured.miou)}, "
        f"of the averaged weights {percent(measured.ema_miou)}"
    )


def print_run(run: "SegmenterRun") -> None:
    """Print the evaluations as a table, what must be known, and what to do next."""
    from edgevit_deploy.data.pictures import named

    rows = [
        [
            f"{line.epoch:g}",
            f"{line.loss:.4f}",
            f"{line.learning_rate:.2e}",
            percent(line.miou),
            percent(line.ema_miou),
            percent(line.ema_pixel_accuracy),
            f"{line.images_per_s:.0f}",
            f"{line.elapsed_s:.0f} s",
        ]
        for line in run.metrics
        if line.miou is not None
    ]
    print_table(f"training of {len(run.classes)} classes of pixels", COLUMNS, rows, optional=OPTIONAL)
    for note in run.notes:
        say(f"note: {note}")
    if run.broken:
        say(f"{len(run.broken)} pictures could not be used and were left out: {named(run.broken)}")
    say(f"best: mIoU {run.best.miou:.2%}, {run.best.pixel_accuracy:.2%} of pixels right, {run.elapsed_s:.0f} s in all")
    say(f"saved: {run.weights}; to convert it: {PROGRAM} all --task segment --weights {run.weights}")


def document(run: "SegmenterRun") -> dict[str, object]:
    """Return what `--json` prints."""
    return {
        "task": "segment",
        "folder": run.folder,
        "weights": run.weights,
        "miou": run.best.miou,
        "pixel_accuracy": run.best.pixel_accuracy,
        "pictures": run.pictures,
        "classes": run.classes,
        "recipe": run.recipe,
        "elapsed_s": run.elapsed_s,
        "metrics": [
            {name: value for name in line.__slots__ if (value := getattr(line, name)) is not None} for line in run.metrics
        ],
        "passed_over": run.broken,
        "notes": run.notes,
    }
