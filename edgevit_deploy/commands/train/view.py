"""What people see of a training: a line an evaluation, a table at the end, and a plot."""

from typing import TYPE_CHECKING

from edgevit_deploy.commands.console import print_table, say
from edgevit_deploy.commands.pages import write_together
from edgevit_deploy.commands.train.plot import Score, svg_plot
from edgevit_deploy.data.pictures import named
from edgevit_deploy.spec import PROGRAM

if TYPE_CHECKING:
    from edgevit_deploy.train.job import TrainingRun
    from edgevit_deploy.train.records import Measured
    from edgevit_deploy.train.segmenter import SegmenterRun

PLOT_NAME = "training.svg"
COLUMNS = ("epoch", "pixels", "loss", "learning rate", "top-1", "top-1 averaged", "top-5 averaged", "images/s", "elapsed")


def say_epoch(measured: "Measured") -> None:
    """Say how an evaluation went."""
    say(
        f"epoch {measured.epoch:g} at {measured.image_size} pixels: loss {measured.loss:.4f}, top-1 {percent(measured.top1)}, "
        f"of the averaged weights {percent(measured.ema_top1)}"
    )


def print_run(run: "TrainingRun") -> None:
    """Print the evaluations as a table, what must be known, and what to do next."""
    rows = [
        [
            f"{line.epoch:g}",
            str(line.image_size),
            f"{line.loss:.4f}",
            f"{line.learning_rate:.2e}",
            percent(line.top1),
            percent(line.ema_top1),
            percent(line.ema_top5),
            f"{line.images_per_s:.0f}",
            f"{line.elapsed_s:.0f} s",
        ]
        for line in run.metrics
        if line.top1 is not None
    ]
    print_table(f"training of {len(run.classes)} classes", COLUMNS, rows, optional=("top-5 averaged", "learning rate", "pixels"))
    for note in run.notes:
        say(f"note: {note}")
    if run.broken:
        say(f"{len(run.broken)} pictures could not be read and were left out: {named(run.broken)}")
    say(f"best: {run.top1} of {run.pictures} right ({run.top1 / max(1, run.pictures):.2%}), {run.elapsed_s:.0f} s in all")
    say(f"saved: {run.weights}; to convert it: {PROGRAM} all --weights {run.weights}")


def write_plot(run: "TrainingRun | SegmenterRun", score: Score = "top-1") -> None:
    """Write the plot into the run's folder.

    Raises:
        UsageError: the folder cannot be written.
    """
    write_together(run.folder, {PLOT_NAME: svg_plot(run.metrics, score)})


def document(run: "TrainingRun") -> dict[str, object]:
    """Return what `--json` prints."""
    return {
        "folder": run.folder,
        "weights": run.weights,
        "top1": run.top1,
        "top5": run.top5,
        "pictures": run.pictures,
        "classes": run.classes,
        "recipe": run.recipe,
        "processes": run.processes,
        "elapsed_s": run.elapsed_s,
        "metrics": [{name: value for name, value in _fields(line) if value is not None} for line in run.metrics],
        "passed_over": run.broken,
        "notes": run.notes,
    }


def _fields(line: "Measured") -> list[tuple[str, object]]:
    return [(name, getattr(line, name)) for name in line.__slots__]


def percent(share: float | None) -> str:
    """Return a share in percent; nothing where there is none."""
    return "" if share is None else f"{share:.2%}"
