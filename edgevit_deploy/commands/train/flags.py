"""The flags of `convert.py train`: those of a recipe are the fields of `Recipe`, each unsaid until somebody says it."""

from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from cyclopts import Parameter

from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import Precision
from edgevit_deploy.train.recipe import Recipe

if TYPE_CHECKING:
    from edgevit_deploy.train.rounding import TrainedRounding


def _recipe_flags() -> Any:
    """Make the dataclass whose fields are those of `Recipe`, with None for what was not said, and its documentation."""
    hints = get_type_hints(Recipe)
    flags = make_dataclass(
        "RecipeFlags",
        [(item.name, hints[item.name] | None, field(default=None)) for item in fields(Recipe)],
        frozen=True,
        kw_only=True,
    )
    flags.__module__ = __name__
    flags.__doc__ = Recipe.__doc__
    return flags


RecipeFlags: Any = _recipe_flags()


def choices(flags: Any) -> dict[str, object]:
    """Return the fields of a recipe that were said, and None for the others."""
    return {item.name: getattr(flags, item.name) for item in fields(Recipe)}


@dataclass(frozen=True, kw_only=True)
class TrainFlags:
    """Where the pictures are, what to begin with, and how to train.

    Attributes:
        data: Folder with train/CLASS/* and val/CLASS/*; with --val-share also a folder of CLASS/*. With --task segment: train/
            and val/, each with images/NAME.jpg and masks/NAME.png (8 bits: the number is the class, 255 is none).
        task: classify pictures, or segment: give each pixel a class, by a Semantic FPN on the four stages.
        model: Published variant. [default: the one in --finetune, else edgevit_xxs]
        finetune: Checkpoint of any trainer to begin with; a new head is made unless the classes are the same.
        recipe: deit (published), finetune, small (small pictures on a CPU), qat or segment. [default: segment with --task
            segment, qat with --qat, finetune with --finetune, else deit]
        ablations: Train edgevit_xxs and each of the paper's ablations of it, one after another, each in its folder of --output,
            and compare them; with --resume, those that have ended are not trained again.
        labels: Text file with one class name a line, in class order. [default: the sorted folder names; labels.txt beside train/
            with --task segment]
        val_share: Share of the pictures to hold out where there is no val folder, such as 0.1.
        output: Folder of the run. [default: build/train/MODEL, build/train/ablations with --ablations]
        resume: Go on from the last saved state of the run in --output.
        processes: Processes that train on this machine. [default: as many as share a batch evenly, of 16 pictures or more each]
        workers: Processes that decode for each of them. [default: 0 on a CPU]
        device: auto, cpu or cuda.
        compile: Let torch.compile compile the network.
        strict: Refuse pictures that cannot be read, instead of leaving them out.
        log_every: Updates to a line of metrics.jsonl.
        checkpoint_every: Updates between saved states, beside those after each epoch. [default: none between]
        evaluate_every: Epochs to an evaluation.
        tensorboard: Write events for TensorBoard too.
        qat: Target for whose integer files the network is trained: it rounds as they do (quantisation-aware training).
        precision: With --qat, of those files: int8 or w8.
        calibration: With --qat, folder of pictures that show how large values get. [default: the training pictures]
        json: Print one JSON document on stdout and nothing else there.
    """

    data: Path
    task: Literal["classify", "segment"] = "classify"
    model: str | None = None
    finetune: Path | None = None
    recipe: str | None = None
    ablations: Annotated[bool, Parameter(negative="")] = False
    labels: Path | None = None
    val_share: float | None = None
    output: Path | None = None
    resume: Annotated[bool, Parameter(negative="")] = False
    processes: int | None = None
    workers: int | None = None
    device: str = "auto"
    compile: Annotated[bool, Parameter(negative="")] = False
    strict: Annotated[bool, Parameter(negative="")] = False
    log_every: int = 50
    checkpoint_every: int | None = None
    evaluate_every: int = 1
    tensorboard: Annotated[bool, Parameter(negative="")] = False
    qat: str | None = None
    precision: Precision | None = None
    calibration: Path | None = None
    json: Annotated[bool, Parameter(negative="")] = False


def rounding_of(flags: TrainFlags) -> "TrainedRounding | None":
    """Return for which integer files a network is to be trained; None where nobody said --qat.

    Raises:
        UsageError: flags that do not go together, or files that cannot be trained for.
    """
    from edgevit_deploy.calibration.choice import CalibrationChoice
    from edgevit_deploy.rounded_training import training_for

    if flags.qat is None:
        said = [name for name in ("precision", "calibration") if getattr(flags, name) is not None]
        if said:
            raise UsageError(f"--{said[0]} is for a training that rounds as a target's files do; add --qat TARGET, or drop it")
        return None
    return training_for(flags.qat, flags.precision, CalibrationChoice(pictures=flags.calibration))
