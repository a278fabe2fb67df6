"""`edgevit_deploy.train_ablations`: every ablation trained as the published network is, and counted on the same pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.errors import RunError, UsageError
from edgevit_deploy.measure.ablations import NetworkFacts, facts_of
from edgevit_deploy.measure.accuracy.identity import tools_with, weights_identity
from edgevit_deploy.measure.accuracy.result import Accuracy, Pairing
from edgevit_deploy.measure.accuracy.shards import PICTURES, Shard, Subject, run_in_turn
from edgevit_deploy.measure.accuracy.store import ShardStore, stamp_of
from edgevit_deploy.measure.accuracy.tally import AccuracyTally, PairingTally
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.model.variants import ABLATIONS, BASELINE, find_variant
from edgevit_deploy.outside.files import StrPath, optional_path
from edgevit_deploy.spec import PreprocessChoice
from edgevit_deploy.train.checkpoint import has_state
from edgevit_deploy.train.job import LOG_EVERY, RUNS, OnEpoch, TrainingRun, not_shown
from edgevit_deploy.train.library import named_recipe, train_model
from edgevit_deploy.train.pictures import Share, open_pictures
from edgevit_deploy.train.recipe import Recipe
from edgevit_deploy.train.world import launched
from edgevit_deploy.workbench.results import Progress, Step, silent

DEFAULT_OUTPUT = RUNS / "ablations"
SHARDS = "shards"
"""The folder below --output with what each network returned for the validation pictures."""

NETWORK_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedAblation:
    """One network after its training.

    Attributes:
        facts: what it replaces and costs, at the image size and number of classes of the training.
        weights: the checkpoint that was counted: its best averaged weights.
        accuracy: on the validation pictures.
        pairing: with the unablated network, picture by picture; None for that one itself.
        evaluations: how many there were at the final image size, of which the weights are the best.
        elapsed_s: of its training.
        notes: what must be known of its training.
        broken: pictures that could not be read and were left out of it.
    """

    facts: NetworkFacts
    weights: Path
    accuracy: Accuracy
    pairing: Pairing | None
    evaluations: int
    elapsed_s: float
    notes: tuple[str, ...] = ()
    broken: tuple[PassedOver, ...] = ()

    @property
    def gain(self) -> tuple[float, float, float]:
        """By how much of all pictures it is right more often than the unablated network, and the 95 % interval of that."""
        if self.pairing is None:
            return 0.0, 0.0, 0.0
        low, high = self.pairing.drop_interval
        return -self.pairing.drop, -high, -low


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationStudy:
    """All of them, the unablated network first; `recipe` is as it was resolved, `pictures` are those that were counted."""

    folder: Path
    networks: tuple[TrainedAblation, ...]
    classes: tuple[str, ...]
    pictures: int
    recipe: Recipe


OnTrained = Callable[[TrainingRun], None]


def _nothing(_: TrainingRun) -> None:
    """Do nothing with a training that has ended."""


def train_ablations(
    data: StrPath,
    *,
    recipe: Recipe | str | None = None,
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
    progress: Progress = silent,
    on_epoch: OnEpoch = not_shown,
    on_trained: OnTrained = _nothing,
) -> AblationStudy:
    """Train the published XXS and each of the paper's ablations by one recipe and seed, one after another, and compare them.

    Args:
        data: as for `train_model`, and so the rest but for these.
        recipe: see `data`.
        labels: see `data`.
        preprocess: see `data`.
        val_share: see `data`.
        output: folder with one run a network, by its name; `build/train/ablations` when None.
        resume: go on where it stopped: a training that has ended is not made again, one that has begun goes on.
        processes: see `data`.
        workers: see `data`.
        device: see `data`.
        compiled: see `data`.
        strict: see `data`.
        log_every: see `data`.
        checkpoint_every: see `data`.
        evaluate_every: see `data`.
        tensorboard: see `data`.
        progress: shows each step under the name of the network; nothing by default.
        on_epoch: is given each evaluation.
        on_trained: is given each training that has ended.

    Raises:
        UsageError: as `train_model`, or under torchrun.
        MissingError: as `train_model`.
        RunError: as `train_model`, or weights that were trained do not run.
    """
    if launched() is not None:
        raise UsageError("--ablations trains networks one after another, each in its own processes; drop torchrun")
    folder = optional_path(output) or DEFAULT_OUTPUT
    resolved = recipe if isinstance(recipe, Recipe) else named_recipe(recipe, finetunes=False, rounds=False)
    names = (BASELINE.variant, *ABLATIONS)
    _check_begun(folder, names, resume=resume)
    runs = []
    for number, name in enumerate(names, start=1):
        run = train_model(
            data,
            recipe=resolved,
            model=name,
            labels=labels,
            preprocess=preprocess,
            val_share=val_share,
            output=folder / name,
            resume=has_state(folder / name),
            processes=processes,
            workers=workers,
            device=device,
            compiled=compiled,
            strict=strict,
            log_every=log_every,
            checkpoint_every=checkpoint_every,
            evaluate_every=evaluate_every,
            tensorboard=tensorboard,
            progress=_under(f"{name} ({number} of {len(names)})", progress),
            on_epoch=on_epoch,
        )
        on_trained(run)
        runs.append(run)
    val = open_pictures(Path(data), labels=optional_path(labels), val_share=val_share, seed=resolved.seed).val
    with progress("counting") as step:
        counted = tuple(_counted(names, runs, val, ShardStore(folder=folder / SHARDS), step))
    pictures = counted[0].accuracy.top1.of
    return AblationStudy(folder=folder, networks=counted, classes=runs[0].classes, pictures=pictures, recipe=resolved)


def _under(label: str, progress: Progress) -> Progress:
    return lambda _: progress(label)


def _check_begun(folder: Path, names: Sequence[str], *, resume: bool) -> None:
    """Refuse, before anything is trained, to train over a run, or to go on where nothing has begun."""
    begun = [name for name in names if has_state(folder / name)]
    if begun and not resume:
        raise UsageError(
            f"--output {folder / begun[0]}: a training has been there; add --resume to go on with all of them, or give another "
            "folder"
        )
    if resume and not begun:
        raise UsageError(f"--resume: nothing in {folder} to go on from; drop --resume to begin anew")


def _counted(
    names: Sequence[str], runs: Sequence[TrainingRun], val: Share, store: ShardStore, step: Step
) -> Iterator[TrainedAblation]:
    digest = val.folder.digest()
    base: list[Shard] = []
    for name, run in zip(names, runs, strict=True):
        step(f"{name}: {len(val)} pictures")
        shards = list(_shards(name, run.weights, val, digest))
        missing = {shard.key: shard for shard in shards if not store.holds(shard)}
        for result in run_in_turn(list(missing.values())):
            if result.status != "ran":
                raise RunError(f"{run.weights} cannot be counted: {result.reason}")
            store.keep(missing[result.key], result)
        base = base or shards
        accuracy = AccuracyTally(classes=len(run.classes), outputs="logits")
        pairing = PairingTally(folder=val.folder, outputs="logits", bound=None)
        for own, unablated in zip(map(store.find, shards), map(store.find, base), strict=True):
            assert own is not None  # each was kept a moment ago
            assert unablated is not None
            accuracy.add(own, val.folder.targets)
            pairing.add(unablated, own)
        if not accuracy.pictures:
            raise UsageError(f"none of the {len(val)} pictures that evaluate can be read; copy them again")
        side = run.recipe.image_size
        spec = replace(find_variant(name), num_classes=len(run.classes)).with_image_size((side, side))
        yield TrainedAblation(
            facts=facts_of(spec),
            weights=run.weights,
            accuracy=accuracy.accuracy(),
            pairing=None if name == names[0] else pairing.pairing(),
            evaluations=sum(line.image_size == side and line.ema_top1 is not None for line in run.metrics),
            elapsed_s=run.elapsed_s,
            notes=tuple(run.notes),
            broken=tuple(run.broken),
        )


def _shards(name: str, weights: Path, val: Share, digest: str) -> Iterator[Shard]:
    """Yield the pictures that evaluate, in parts, to be run through a checkpoint in PyTorch."""
    loaded = load_model(ModelOrigin(model=name, weights=weights))
    subject = Subject(
        kind="network",
        path=weights,
        identity=weights_identity(loaded.record),
        tools=tools_with(["torch"]),
        image_size=loaded.spec.image_size,
        preprocess=loaded.spec.preprocess,
        batch=NETWORK_BATCH,
        model=loaded.record.variant,
    )
    positions = val.positions.tolist()
    for start in range(0, len(positions), PICTURES):
        some = tuple(positions[start : start + PICTURES])
        yield Shard(
            subject=subject,
            data=val.folder.root,
            data_digest=digest,
            positions=some,
            files=tuple(val.folder.files[position] for position in some),
            stamp=stamp_of(str(val.folder.path(position)) for position in some),
        )
