"""The loop: batches in, averaged weights and evaluations out; at any update its state can be saved and taken up again."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgevit_deploy.data.pictures import PassedOver, named
from edgevit_deploy.deploy.trained import RoundedNetwork
from edgevit_deploy.errors import DeployError, RunError, UsageError
from edgevit_deploy.model.dense import DenseNetwork
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.train.augment import (
    TrainingBatch,
    TrainingStream,
    make_mixup,
    mix,
)
from edgevit_deploy.train.batch_norm import share_batch_norm
from edgevit_deploy.train.checkpoint import State
from edgevit_deploy.train.drop_path import DropPath
from edgevit_deploy.train.masks import MaskPictures
from edgevit_deploy.train.network import make_optimizer, stages_of
from edgevit_deploy.train.order import Order, Segment
from edgevit_deploy.train.pictures import Pictures
from edgevit_deploy.train.recipe import Recipe
from edgevit_deploy.train.rounder import Rounder, read_ranges, saved_ranges
from edgevit_deploy.train.schedule import Schedule
from edgevit_deploy.train.timm_parts import timm_part
from edgevit_deploy.train.world import World, losses_told

READABLE = 2
"""Pictures that must be readable of those that BatchNorm sees together: of a part of a batch, in all processes."""

AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(slots=True)
class Meter:
    """What has been summed up since the last line of `metrics.jsonl`; losses over this process's pictures alone."""

    loss: Tensor  # float64, where the network is, so that a GPU need not be waited for in every update
    pictures: int = 0
    seconds: float = 0.0


class Engine:
    """A network, its average, its optimiser, and how an update is made.

    Attributes:
        network: the one that is trained, in its own memory order, without wrappers.
        average: timm's moving average of it; the first update since `average_from` makes it the network's weights.
        update: how many updates were made.
        meter: since the last line of the metrics.
        broken: pictures that could not be decoded, as file -> why.
    """

    def __init__(
        self,
        network: EdgeViT | RoundedNetwork | DenseNetwork,
        pictures: Pictures | MaskPictures,
        recipe: Recipe,
        world: World,
        device: torch.device,
        *,
        workers: int,
        strict: bool,
        compiled: bool,
        rounder: Rounder | None = None,
    ) -> None:
        self.pictures, self.recipe, self.world, self.device = pictures, recipe, world, device
        self.workers, self.strict, self.rounder = workers, strict, rounder
        self.order = Order(pictures=len(pictures.train), recipe=recipe, parts=world.size * recipe.accumulate)
        self.network = network.to(device)
        if recipe.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if isinstance(self.network, RoundedNetwork):
                self.network.order_weights_plainly()
        self.average = timm_part("utils").ModelEmaV3(self.network, decay=recipe.ema_decay, use_warmup=recipe.ema_warmup)
        self.average_from = 0
        self.drop_path = DropPath(stages_of(self.network), recipe.drop_path)
        self.mixup = make_mixup(recipe, len(pictures.classes))
        self.optimizer = make_optimizer(self.network, recipe)
        self.schedule = Schedule(self.optimizer, recipe, self.order)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.amp == "fp16")
        self.forward = self._wrapped(compiled)
        self.update = 0
        self.meter = self.new_meter()
        self.broken: dict[str, str] = {}

    def run(self, segment: Segment) -> Iterator[None]:
        """Make the updates of a segment that are still to be made; yields after each.

        Raises:
            DeployError: a picture that `strict` refuses, a batch of which nothing could be read, or a loss that is no number.
        """
        if self.update == segment.first and segment.first == self.order.small_updates:
            self.average_from = segment.first  # it begins anew: weights used to pictures of another size do not belong in it
        if self.update == segment.first:
            self._observe_ranges()
        batches = iter(self._batches(segment))
        for _ in range(self.update, segment.stop):
            started = time.monotonic()
            parts = [next(batches) for _ in range(self.recipe.accumulate)]
            self._step(parts)
            self.meter.seconds += time.monotonic() - started
            yield

    def averaged(self) -> EdgeViT:
        """Return the published network with the averaged weights."""
        average: EdgeViT | RoundedNetwork = self.average.module
        return average.published() if isinstance(average, RoundedNetwork) else average

    def calibration(self, weights: Path) -> bytes | None:
        """Return the ranges by which the averaged weights were evaluated, as a file; `weights` is their checkpoint."""
        average = self.average.module
        return self.rounder.calibration(average, weights) if self.rounder and isinstance(average, RoundedNetwork) else None

    def prepare_evaluation(self) -> None:
        """Let the averaged weights round as their file will: by the ranges that they have themselves."""
        if self.rounder is not None:
            self.rounder.observe(self.average.module)

    def new_meter(self) -> Meter:
        """Return one that has summed up nothing."""
        return Meter(loss=torch.zeros((), dtype=torch.float64, device=self.device))

    def mean_loss(self) -> float:
        """Return the mean loss of all processes since the last line.

        Raises:
            RunError: it is no number.
        """
        loss, pictures = self._summed_up()
        mean = loss / max(1.0, pictures)
        if mean != mean or abs(mean) == float("inf"):
            raise RunError(
                f"the loss is {mean} after update {self.update}; lower --learning-rate or set --clip-norm 1, and begin anew"
            )
        return mean

    def state(self) -> State:
        """Return everything that the next update depends on, and the meters of all processes; every process must call it."""
        loss, pictures = self._summed_up()
        return {
            "update": self.update,
            "network": self.network.state_dict(),
            "ranges": saved_ranges(self.network.ranges) if isinstance(self.network, RoundedNetwork) else None,
            "average": self.average.module.state_dict(),
            "average_from": self.average_from,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "meter": [loss, int(pictures), self.meter.seconds],
            "broken": {item.file: item.why for item in self.left_out()},
        }

    def take_up(self, state: State) -> None:
        """Become what `state` was taken of."""
        self.update = state["update"]
        self.network.load_state_dict(state["network"])
        if isinstance(self.network, RoundedNetwork) and state["ranges"] is not None:
            self.network.round_by(read_ranges(state["ranges"]))
        self.average.module.load_state_dict(state["average"])
        self.average_from = state["average_from"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        loss, pictures, self.meter.seconds = state["meter"]
        if self.world.is_first:  # the sum over all of them
            self.meter.loss.fill_(loss)
            self.meter.pictures = pictures
        self.broken = dict(state["broken"])

    def _observe_ranges(self) -> None:
        """At the beginning of an epoch, round by the ranges of the weights of now; in the second half they stay what they are."""
        if isinstance(self.network, RoundedNetwork) and self.rounder is not None and 0 < self.update <= self.order.updates / 2:
            self.rounder.observe(self.network)

    def _summed_up(self) -> list[float]:
        """Return the loss and the pictures of all processes since the last line."""
        started = time.monotonic()
        loss = self.meter.loss.item()  # here a GPU is waited for, which counts as training
        self.meter.seconds += time.monotonic() - started
        return self.world.sums(loss, float(self.meter.pictures))

    def left_out(self) -> tuple[PassedOver, ...]:
        """Return the pictures of all processes that could not be decoded."""
        found = self.broken | (self.rounder.broken if self.rounder else {})
        merged = {file: why for own in self.world.gathered(found) for file, why in own.items()}
        return tuple(PassedOver(file=file, why=why) for file, why in sorted(merged.items()))

    def _wrapped(self, compiled: bool) -> Callable[[Tensor], Tensor]:
        forward: nn.Module = self.network
        if self.world.size > 1:
            share_batch_norm(self.network)
            share_batch_norm(self.average.module)
            ids = [self.device.index] if self.device.type == "cuda" else None
            ignored = warnings.catch_warnings(action="ignore", category=FutureWarning)
            with losses_told(while_computing=True), ignored:  # 2.13 gives that argument another name
                forward = nn.parallel.DistributedDataParallel(self.network, device_ids=ids, broadcast_buffers=False)
        return torch.compile(forward) if compiled else forward

    def _batches(self, segment: Segment) -> Iterator[TrainingBatch]:
        assert isinstance(self.pictures, Pictures)
        side = segment.image_size
        accumulate = self.recipe.accumulate
        parts = range(self.world.rank * accumulate, (self.world.rank + 1) * accumulate)
        stream = TrainingStream(
            share=self.pictures.train,
            turns=self.order.turns(segment, self.update, parts),
            recipe=self.recipe,
            side=side,
            preprocess=self.network.spec.with_image_size((side, side)).preprocess,
            workers=self.workers,
            pinned=self.device.type == "cuda",
        )
        return iter(stream)

    def _step(self, parts: list[TrainingBatch]) -> None:
        seed = self.recipe.seed
        failure = self._failure(parts)
        if self.mixup is not None and failure is None:
            parts = [mix(self.mixup, part, seed, self.update) for part in parts]
        own = [float(len(part.targets)) for part in parts]
        failures, *seen = self.world.sums(float(failure is not None), *own)
        if failures:
            self.world.agree(failure)
        if min(seen) < READABLE:
            self.world.agree(self._unreadable(parts))
        self.network.train()
        self.schedule.step_update(self.update)
        self.optimizer.zero_grad(set_to_none=True)
        with losses_told(while_computing=True) if self.world.size > 1 else nullcontext():
            for number, part in enumerate(parts, start=1):
                self._add_gradients(part, sum(seen), last=number == len(parts))
        if self.recipe.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.update += 1
        self.meter.pictures += int(sum(own))
        self.average.update(self.network, step=self.update - self.average_from)

    def _add_gradients(self, part: TrainingBatch, pictures: float, *, last: bool) -> None:
        """Add a part's share of the gradient of the mean loss over the whole batch."""
        recipe = self.recipe
        self.drop_path.draw(part.places, recipe.batch_size, self.device, recipe.seed, self.update)
        memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        pixels = part.pixels.to(self.device, non_blocking=True).contiguous(memory_format=memory_format)
        targets = part.targets.to(self.device, non_blocking=True)
        waits = isinstance(self.forward, nn.parallel.DistributedDataParallel) and not last
        with self.forward.no_sync() if waits else nullcontext():  # type: ignore[attr-defined]
            with torch.autocast(self.device.type, dtype=AUTOCAST.get(recipe.amp), enabled=recipe.amp in AUTOCAST):
                logits = self.forward(pixels)
            smoothing = 0.0 if self.mixup is not None else recipe.label_smoothing  # mixup's targets are smooth already
            loss = self._loss(logits.float(), targets, smoothing)
            scaled: Tensor = self.scaler.scale(loss * (self.world.size / pictures))  # DDP takes the mean over the processes
            scaled.backward()  # type: ignore[no-untyped-call]
        self.meter.loss += loss.detach()

    def _loss(self, logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """Return the losses of some pictures, summed up."""
        return functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)

    def _failure(self, parts: list[TrainingBatch]) -> DeployError | None:
        """Note which pictures could not be read; return what is to be said if `strict` forbids that."""
        broken = [item for part in parts for item in part.broken]
        self.broken |= {item.file: item.why for item in broken}
        if broken and self.strict:
            return UsageError(f"--strict: {broken[0].file} cannot be read ({broken[0].why}); copy it again, or remove it")
        return None

    def _unreadable(self, parts: list[TrainingBatch]) -> DeployError:
        """Return what is to be said where too few of a batch could be read; every process must call it."""
        broken = [item for items in self.world.gathered([item for part in parts for item in part.broken]) for item in items]
        return UsageError(
            f"--data {self.pictures.train.folder.root}: of a part of a batch not even {READABLE} could be read: {named(broken)}; "
            "copy them again"
        )
