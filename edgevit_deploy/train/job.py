"""What a training is asked for and what it comes to: plain values, which may be pickled and sent to other processes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import PreprocessChoice
from edgevit_deploy.train.recipe import Recipe, flag
from edgevit_deploy.train.records import Measured
from edgevit_deploy.train.rounding import TrainedRounding

Tell = Callable[[str], None]
"""Is told how far it is."""

OnEpoch = Callable[[Measured], None]
"""Is given each evaluation."""

DEFAULT_MODEL = "edgevit_xxs"
RUNS = Path("build/train")
"""Where a run that names no folder has its own, after its variant."""
LOG_EVERY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """One training: the recipe decides what the weights become, the rest how they come to be.

    Attributes:
        data: folder with `train` and `val`.
        recipe: with every number.
        output: folder of the run; one in `RUNS` when None.
        model: variant; of `finetune`'s file when None, else the smallest.
        finetune: checkpoint to begin with.
        labels: text file with the class names in class order.
        preprocess: what is said of the evaluation's preprocessing; statistics and interpolation are the training's too.
        val_share: share of the pictures to hold out where there is no `val`.
        resume: go on from the run's last state.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one.
        workers: processes that decode, for each process that trains; by the machine when None.
        compiled: let `torch.compile` compile the network.
        strict: refuse a picture that cannot be decoded, instead of leaving it out.
        log_every: updates to a line of `metrics.jsonl`.
        checkpoint_every: updates between two saved states, beside those at the end of each epoch; none between when None.
        evaluate_every: epochs to an evaluation.
        tensorboard: write events for TensorBoard.
        rounding: for which integer files the network is trained, rounding as they do; None trains it as it is.
    """

    data: Path
    recipe: Recipe
    output: Path | None = None
    model: str | None = None
    finetune: Path | None = None
    labels: Path | None = None
    preprocess: PreprocessChoice = field(default_factory=PreprocessChoice)
    val_share: float | None = None
    resume: bool = False
    device: str = "auto"
    workers: int | None = None
    compiled: bool = False
    strict: bool = False
    log_every: int = LOG_EVERY
    checkpoint_every: int | None = None
    evaluate_every: int = 1
    tensorboard: bool = False
    rounding: TrainedRounding | None = None

    def check(self) -> None:
        """Refuse numbers that count nothing, and what does not go together.

        Raises:
            UsageError: naming the flag.
        """
        if self.rounding is not None:
            self._check_rounding()
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{flag(name)} {value}: expected at least {least}")

    def _check_rounding(self) -> None:
        if self.finetune is None:
            raise UsageError("--qat: rounding is learnt by a network that is trained already; add --finetune FILE")
        if self.recipe.small_epochs:
            raise UsageError("--qat: ranges are those of one image size; give --small-epochs 0")
        if self.recipe.drop_path:
            raise UsageError("--qat: what is trained has no branches to skip; give --drop-path 0")


LEAST = {"workers": 0, "log_every": 1, "checkpoint_every": 1, "evaluate_every": 1}
"""What each number of a job is at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """What became of it.

    Attributes:
        folder: of the run.
        weights: the checkpoint whose averaged weights did best on the validation pictures.
        top1: of those: how many of `pictures` they get right.
        top5: as `top1`, among the first five.
        pictures: that evaluated them.
        classes: names, in class order.
        recipe: as it was resolved.
        metrics: every line of `metrics.jsonl`.
        broken: pictures that could not be decoded and were left out.
        processes: that trained.
        elapsed_s: of all sessions.
        notes: what must be known: where the weights came from, from which state it went on.
    """

    folder: Path
    weights: Path
    top1: int
    top5: int
    pictures: int
    classes: tuple[str, ...]
    recipe: Recipe
    metrics: tuple[Measured, ...]
    broken: tuple[PassedOver, ...]
    processes: int
    elapsed_s: float
    notes: tuple[str, ...]


def not_shown(_: Measured) -> None:
    """Show nothing of an evaluation."""


def not_told(_: str) -> None:
    """Say nothing of how far it is."""
