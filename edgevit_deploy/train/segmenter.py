"""A training for `--task segment`: the engine of the classifiers with masks in place of classes, in one process."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.data.masks import IGNORED, absent, nothing_to_judge
from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.text import writable
from edgevit_deploy.parity.segments import mean_iou, pixel_accuracy, value_of
from edgevit_deploy.train.augment import TrainingBatch
from edgevit_deploy.train.checkpoint import has_state
from edgevit_deploy.train.dense import count_pixels, dense_beginning
from edgevit_deploy.train.draws import generators_kept
from edgevit_deploy.train.durable import replace_durably
from edgevit_deploy.train.engine import Engine
from edgevit_deploy.train.job import RUNS, OnEpoch, Tell, TrainingJob
from edgevit_deploy.train.launch import find_device
from edgevit_deploy.train.masks import MaskAugmenter, MaskPictures, check_recipe, open_mask_pictures
from edgevit_deploy.train.order import Order, Segment
from edgevit_deploy.train.progress import Remaining
from edgevit_deploy.train.recipe import Recipe
from edgevit_deploy.train.records import Measured, Records
from edgevit_deploy.train.weights import BEST, LAST, checkpoint_bytes
from edgevit_deploy.train.world import ALONE, decoding_workers, launched

TELL_EVERY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelScore:
    """Of some weights on the validation pictures: mean IoU over the classes that are somewhere, and right pixels, as shares.

    `pictures` is how many were judged.
    """

    miou: float
    pixel_accuracy: float
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterRun:
    """What became of it.

    Attributes:
        folder: of the run.
        weights: the checkpoint whose averaged weights did best on the validation pictures, by mIoU.
        best: of those.
        pictures: that evaluated them, without those that were left out.
        classes: names, in class order.
        recipe: as it was resolved.
        metrics: every line of `metrics.jsonl`.
        broken: pictures that could not be used and were left out.
        elapsed_s: of the training.
        notes: what must be known: where the weights came from, and which classes no mask has.
    """

    folder: Path
    weights: Path
    best: PixelScore
    pictures: int
    classes: tuple[str, ...]
    recipe: Recipe
    metrics: tuple[Measured, ...]
    broken: tuple[PassedOver, ...]
    elapsed_s: float
    notes: tuple[str, ...]


class SegmenterEngine(Engine):
    """Learns the class of each pixel; a picture's loss is the mean over its pixels, of which those without a class have none."""

    pictures: MaskPictures

    @cached_property
    def seen(self) -> Tensor:
        """How many pixels of each class were trained on, int64 (classes,)."""
        return torch.zeros(len(self.pictures.classes), dtype=torch.int64)

    def _batches(self, segment: Segment) -> Iterator[TrainingBatch]:
        classes = len(self.pictures.classes)
        augmenter = MaskAugmenter(
            folder=self.pictures.train.folder,
            classes=classes,
            recipe=self.recipe,
            side=segment.image_size,
            preprocess=self.network.spec.preprocess,
        )
        turns = self.order.turns(segment, self.update, range(self.recipe.accumulate))
        for batch in augmenter.stream(turns, self.workers, pinned=self.device.type == "cuda"):
            self.seen += torch.bincount(batch.targets.flatten(), minlength=IGNORED + 1)[:classes]
            yield batch

    def _loss(self, logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        pixels = targets.shape[1] * targets.shape[2]
        total = functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing, ignore_index=IGNORED)
        return total / pixels


def train_segmenter(job: TrainingJob, *, tell: Tell, on_epoch: OnEpoch) -> SegmenterRun:
    """Train.

    Raises:
        UsageError: bad input, what contradicts itself, or what only classifiers can be trained with.
        MissingError: no timm, no segmentation_models_pytorch, or no such device.
        RunError: the loss is no number.
    """
    if launched() is not None:
        raise UsageError("--task segment trains in one process; start it without torchrun")
    check_recipe(job.recipe)
    job.recipe.check()
    job.check()
    with generators_kept():
        return _Training(job, now_and_then(tell, TELL_EVERY_S), on_epoch).run()


class _Training:
    def __init__(self, job: TrainingJob, tell: Tell, on_epoch: OnEpoch) -> None:
        self.job, self.tell, self.on_epoch, self.started_s = job, tell, on_epoch, time.monotonic()
        tell("listing the pictures")
        self.pictures = open_mask_pictures(job.data, job.labels)
        Order(pictures=len(self.pictures.train), recipe=job.recipe, parts=job.recipe.accumulate).check()
        network, self.notes = dense_beginning(job, self.pictures.classes)
        self.output = job.output or RUNS / f"{network.spec.variant}-segment"
        if has_state(self.output) or (self.output / BEST).exists():
            raise UsageError(f"--output {self.output}: a training has been there; give another folder")
        device = find_device(job.device, 0)
        self.engine = SegmenterEngine(
            network,
            self.pictures,
            job.recipe,
            ALONE,
            device,
            workers=decoding_workers(job.workers, ALONE, device),
            strict=job.strict,
            compiled=job.compiled,
        )
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--output {self.output}: cannot be made ({error.strerror}); name another folder") from error
        self.records = Records(self.output, job.recipe, None, from_step=0, tensorboard=False)
        self.best: PixelScore | None = None
        self.judged: list[int] = []

    def run(self) -> SegmenterRun:
        engine, progress = self.engine, Remaining(self.engine)
        for segment in engine.order.segments():
            for _ in engine.run(segment):
                self.tell(progress.line(segment))
                if engine.update == segment.stop:
                    break
                if engine.update % self.job.log_every == 0:
                    self.records.add(self._measured(segment))
            self._end(segment)
        self.records.close()
        assert self.best is not None, "the last segment evaluates"
        return SegmenterRun(
            folder=self.output,
            weights=self.output / BEST,
            best=self.best,
            pictures=self.best.pictures,
            classes=self.pictures.classes,
            recipe=self.job.recipe,
            metrics=tuple(self.records.lines),
            broken=engine.left_out(),
            elapsed_s=time.monotonic() - self.started_s,
            notes=(*self.notes, *self._absent()),
        )

    def _end(self, segment: Segment) -> None:
        engine = self.engine
        last = engine.update == engine.order.updates
        if not (last or segment.epoch % self.job.evaluate_every == self.job.evaluate_every - 1):
            self.records.add(self._measured(segment))
            return
        raw, averaged = (self._score(network) for network in (engine.network, engine.average.module))
        measured = replace(
            self._measured(segment),
            miou=raw.miou,
            pixel_accuracy=raw.pixel_accuracy,
            ema_miou=averaged.miou,
            ema_pixel_accuracy=averaged.pixel_accuracy,
            pictures=averaged.pictures,
        )
        self.records.add(measured)
        self.on_epoch(measured)
        content = self._weights(averaged)
        files = {self.output / LAST: content}
        if self.best is None or averaged.miou >= self.best.miou:
            self.best = averaged
            files[self.output / BEST] = content
        replace_durably(files)

    def _absent(self) -> list[str]:
        """Say which classes were never trained on, and which nothing was judged by."""
        names = self.pictures.classes
        found = absent(self.engine.seen.tolist(), names, "crop of a mask in train"), absent(self.judged, names, "mask in val")
        return [note for note in found if note]

    def _score(self, network: torch.nn.Module) -> PixelScore:
        self.tell("evaluating")
        classes, spec = len(self.pictures.classes), self.engine.network.spec
        counts, broken = count_pixels(network, self.pictures.val, spec.preprocess, classes, self.engine.device)
        if broken and self.job.strict:
            raise UsageError(f"--strict: {broken[0].file} cannot be used ({broken[0].why}); mend it, or remove it")
        self.engine.broken |= {item.file: item.why for item in broken}
        if not len(counts):
            raise UsageError(f"--data {self.pictures.val.folder.root}: none of its pictures can be used; look at one of them")
        self.judged = counts.truth.sum(axis=0).tolist()
        if not any(self.judged):
            raise UsageError(nothing_to_judge(self.pictures.val.folder.root))
        miou, right = (float(value_of(partial(share, counts), len(counts))) for share in (mean_iou, pixel_accuracy))
        return PixelScore(miou=miou, pixel_accuracy=right, pictures=len(counts))

    def _measured(self, segment: Segment) -> Measured:
        engine = self.engine
        loss, meter = engine.mean_loss(), engine.meter
        engine.meter = engine.new_meter()
        return Measured(
            epoch=round(engine.update / engine.order.updates_per_epoch, 4),
            step=engine.update,
            loss=loss,
            learning_rate=max(group["lr"] for group in engine.optimizer.param_groups),
            images_per_s=round(meter.pictures / max(1e-9, meter.seconds), 1),
            elapsed_s=round(time.monotonic() - self.started_s, 3),
            image_size=segment.image_size,
        )

    def _weights(self, score: PixelScore) -> bytes:
        pictures = self.pictures
        return checkpoint_bytes(
            self.engine.average.module.state_dict(),
            self.engine.network.spec,
            [writable(name) for name in pictures.classes],
            {
                "task": "segment",
                "recipe": msgspec.to_builtins(self.job.recipe),
                "data": {"sha256": pictures.sha256, "train_pictures": len(pictures.train), "val_pictures": len(pictures.val)},
                "segmentation": {**msgspec.to_builtins(score), "weights": "averaged"},
            },
        )
