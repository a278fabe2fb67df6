"""What a training records as it goes: `metrics.jsonl`, `recipe.json`, and TensorBoard's events where they are asked for."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.registry import requires
from edgevit_deploy.train.durable import replace_durably
from edgevit_deploy.train.recipe import Recipe
from edgevit_deploy.train.rounding import TrainedRounding

METRICS, RECIPE, EVENTS = "metrics.jsonl", "recipe.json", "tensorboard"
MAX_METRICS_BYTES = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One line of `metrics.jsonl`; what was not measured then is None.

    Attributes:
        epoch: passes over the training pictures so far.
        step: updates so far.
        loss: mean over the pictures since the line before, of all processes.
        learning_rate: of the last update.
        images_per_s: pictures trained on a second since the line before, of all processes.
        elapsed_s: since the training began, without the time between a stop and its resumption.
        image_size: side in pixels.
        top1: share of the validation pictures that the weights get right.
        top5: as `top1`, among the first five.
        ema_top1: as `top1`, of the averaged weights.
        ema_top5: as `top5`, of the averaged weights.
        pictures: that were evaluated.
        miou: of a segmenter in place of these four: the weights' mean IoU on the validation pictures.
        pixel_accuracy: likewise, the share of pixels that they get right.
        ema_miou: as `miou`, of the averaged weights.
        ema_pixel_accuracy: as `pixel_accuracy`, of the averaged weights.
    """

    epoch: float
    step: int
    loss: float
    learning_rate: float
    images_per_s: float
    elapsed_s: float
    image_size: int
    top1: float | None = None
    top5: float | None = None
    ema_top1: float | None = None
    ema_top5: float | None = None
    pictures: int | None = None
    miou: float | None = None
    pixel_accuracy: float | None = None
    ema_miou: float | None = None
    ema_pixel_accuracy: float | None = None


class Records:
    """Writes the lines; only the first process has one."""

    def __init__(
        self, folder: Path, recipe: Recipe, rounding: TrainedRounding | None, *, from_step: int, tensorboard: bool
    ) -> None:
        self.folder = folder
        self.lines = [line for line in read_metrics(folder) if line.step <= from_step] if from_step else []
        rounds = {} if rounding is None else {"rounding": rounding.identity()}
        replace_durably(
            {
                folder / RECIPE: json_bytes(msgspec.to_builtins(recipe) | rounds),
                folder / METRICS: b"".join(map(_line, self.lines)),
            },
        )
        self.events = _open_events(folder / EVENTS, from_step) if tensorboard else None

    def add(self, measured: Measured) -> None:
        """Write one line.

        Raises:
            UsageError: the file cannot be written.
        """
        self.lines.append(measured)
        try:
            with (self.folder / METRICS).open("ab") as file:
                file.write(_line(measured))
        except OSError as error:
            raise UsageError(f"{self.folder / METRICS} cannot be written ({error.strerror}); make room") from error
        if self.events is not None:
            for name in ("loss", "learning_rate", "images_per_s", "top1", "top5", "ema_top1", "ema_top5"):
                if (value := getattr(measured, name)) is not None:
                    self.events.add_scalar(name, value, measured.step)

    def close(self) -> None:
        """Flush what is still to be written."""
        if self.events is not None:
            self.events.close()


def read_metrics(folder: Path) -> list[Measured]:
    """Return the lines of a run's `metrics.jsonl`; a last one that is cut short is left out.

    Raises:
        UsageError: it cannot be read, or another line is none of ours.
    """
    path = folder / METRICS
    try:
        lines = read_bounded(path, MAX_METRICS_BYTES).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); remove it") from error
    try:
        return [msgspec.json.decode(line, type=Measured) for line in lines[:-1]]
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UsageError(f"{path}: not what a training writes ({error}); remove it") from error


def check_tensorboard() -> None:
    """Refuse to promise events that cannot be written.

    Raises:
        MissingError: TensorBoard is not installed.
    """
    if not requires("tensorboard").ok:
        raise MissingError("--tensorboard: tensorboard is not installed; pip install tensorboard")


def _open_events(folder: Path, from_step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=from_step + 1 if from_step else None)  # it hides that step and all after it


def _line(measured: Measured) -> bytes:
    known = {name: value for name, value in msgspec.to_builtins(measured).items() if value is not None}
    return json.dumps(known).encode() + b"\n"
