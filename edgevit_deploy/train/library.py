"""`edgevit_deploy.train_model`: a training as a function of plain arguments."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.files import StrPath, optional_path
from edgevit_deploy.spec import PreprocessChoice
from edgevit_deploy.train.job import LOG_EVERY, OnEpoch, Tell, TrainingJob, TrainingRun, not_shown, not_told
from edgevit_deploy.train.presets import preset
from edgevit_deploy.train.recipe import Recipe
from edgevit_deploy.train.rounding import TrainedRounding

if TYPE_CHECKING:
    from edgevit_deploy.train.segmenter import SegmenterRun


@contextmanager
def _silent(_: str) -> Iterator[Tell]:
    yield not_told


def named_recipe(name: str | None, *, finetunes: bool, rounds: bool) -> Recipe:
    """Return the preset of that name, or the one that fits when None.

    Args:
        name: of a preset.
        finetunes: whether the training begins with a checkpoint.
        rounds: whether the network rounds as integer files do.

    Raises:
        UsageError: there is none of that name, or it is for a training that begins with a checkpoint.
    """
    if name in ("finetune", "qat") and not finetunes:
        raise UsageError(f"--recipe {name}: it goes on from trained weights; give --finetune FILE, or --recipe deit or small")
    return preset(name or ("qat" if rounds else "finetune" if finetunes else "deit"))


def train_segmentation(
    data: StrPath,
    *,
    recipe: Recipe | str = "segment",
    model: str | None = None,
    finetune: StrPath | None = None,
    labels: StrPath | None = None,
    preprocess: PreprocessChoice | None = None,
    output: StrPath | None = None,
    workers: int | None = None,
    device: str = "auto",
    compiled: bool = False,
    strict: bool = False,
    log_every: int = LOG_EVERY,
    evaluate_every: int = 1,
    progress: Callable[[str], AbstractContextManager[Tell]] = _silent,
    on_epoch: OnEpoch = not_shown,
) -> "SegmenterRun":
    """Train a network that gives each pixel a class, on pictures with masks, in this process.

    Args:
        data: folder with `train` and `val`, each with `images` and, of the same names, `masks`: 8-bit PNGs, the number is the
            class and 255 is none.
        recipe: every number of the training, or a preset.
        model: published variant; of `finetune`'s file, else `edgevit_xxs`, when None.
        finetune: checkpoint to begin with: of a classifier its stages, of a segmenter of as many classes its head too.
        labels: text file with one class name a line, in class order; `labels.txt` in `data` when None.
        preprocess: what is said of the evaluation's preprocessing; statistics and interpolation are the training's too.
        output: folder of the run; `build/train/<variant>-segment` when None.
        workers: processes that decode.
        device: `cpu`, `cuda`, or `auto`.
        compiled: let `torch.compile` compile the network.
        strict: refuse pictures and masks that cannot be used, instead of leaving them out.
        log_every: updates to a line of `metrics.jsonl`.
        evaluate_every: epochs to an evaluation.
        progress: shows each step; nothing by default.
        on_epoch: is given each evaluation.

    Raises:
        UsageError: refused arguments, or unusable pictures or masks.
        MissingError: timm, segmentation_models_pytorch or the device is not there.
        RunError: the loss is no number.
    """
    from edgevit_deploy.train.segmenter import train_segmenter

    job = TrainingJob(
        data=Path(data),
        recipe=recipe if isinstance(recipe, Recipe) else preset(recipe),
        output=optional_path(output),
        model=model,
        finetune=optional_path(finetune),
        labels=optional_path(labels),
        preprocess=preprocess or PreprocessChoice(),
        workers=workers,
        device=device,
        compiled=compiled,
        strict=strict,
        log_every=log_every,
        evaluate_every=evaluate_every,
    )
    with progress("train") as step:
        return train_segmenter(job, tell=step, on_epoch=on_epoch)


def train_model(
    data: StrPath,
    *,
    recipe: Recipe | str | None = None,
    model: str | None = None,
    finetune: StrPath | None = None,
    labels: StrPath | None = None,
    preprocess: PreprocessChoice | None = None,
    val_share: float | None = None,
    output: StrPath | None = None,
    resume: bool = False,
    processes: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    compiled: bool = False,
    strict: bool = False,
    log_every: int = LOG_EVERY,
    checkpoint_every: int | None = None,
    evaluate_every: int = 1,
    tensorboard: bool = False,
    rounding: TrainedRounding | None = None,
    progress: Callable[[str], AbstractContextManager[Tell]] = _silent,
    on_epoch: OnEpoch = not_shown,
) -> TrainingRun:
    """Train or fine-tune a network on a folder of labelled pictures.

    Args:
        data: folder with `train/CLASS/*` and `val/CLASS/*`; with `val_share` also a folder of `CLASS/*`.
        recipe: every number of the training, or a preset: `deit`, `finetune`, `small`, `qat`; `qat` with `rounding`, `finetune`
            with a checkpoint to begin with, else `deit`, when None.
        model: published variant; of `finetune`'s file, else `edgevit_xxs`, when None.
        finetune: checkpoint of any trainer to begin with.
        labels: text file with one class name a line, in class order; the sorted folder names when None.
        preprocess: what is said of the evaluation's preprocessing; statistics and interpolation are the training's too.
        val_share: share of the pictures to hold out where there is no `val`.
        output: folder of the run; `build/train/<variant>` when None.
        resume: go on from the last saved state of the run in `output`.
        processes: that train on this machine; as many as cores, or GPUs, share a batch evenly, of 16 pictures or more each,
            when None. Others than this one are fresh interpreters that end with it.
        workers: processes that decode for each of them.
        device: `cpu`, `cuda`, or `auto`.
        compiled: let `torch.compile` compile the network.
        strict: refuse pictures that cannot be read, instead of leaving them out.
        log_every: updates to a line of `metrics.jsonl`.
        checkpoint_every: updates between saved states, beside those after each epoch.
        evaluate_every: epochs to an evaluation.
        tensorboard: write events for TensorBoard too.
        rounding: train the network as the integer files of a target round it (`edgevit_deploy.rounded_training.training_for`).
        progress: shows each step; nothing by default.
        on_epoch: is given each evaluation.

    Raises:
        UsageError: refused arguments, unusable pictures, or a state that is not of this training.
        MissingError: timm, TensorBoard or the device is not there.
        RunError: a process ended, or the loss is no number.
    """
    from edgevit_deploy.train.launch import train

    job = TrainingJob(
        data=Path(data),
        recipe=recipe
        if isinstance(recipe, Recipe)
        else named_recipe(recipe, finetunes=finetune is not None, rounds=rounding is not None),
        output=optional_path(output),
        model=model,
        finetune=optional_path(finetune),
        labels=optional_path(labels),
        preprocess=preprocess or PreprocessChoice(),
        val_share=val_share,
        resume=resume,
        device=device,
        workers=workers,
        compiled=compiled,
        strict=strict,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        evaluate_every=evaluate_every,
        tensorboard=tensorboard,
        rounding=rounding,
    )
    with progress("train") as step:
        return train(job, processes=processes, tell=step, on_epoch=on_epoch)
