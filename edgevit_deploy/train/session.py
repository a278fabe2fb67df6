"""One process's training from beginning to end: opens the pictures, takes up a state, trains, evaluates, records, saves."""

import json
import time

import torch

from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import ModelSpec
from edgevit_deploy.train.augment import make_transform
from edgevit_deploy.train.checkpoint import State, check_same, has_state, identity, load_state, save_state
from edgevit_deploy.train.durable import replace_durably
from edgevit_deploy.train.engine import Engine
from edgevit_deploy.train.evaluation import Count, evaluate
from edgevit_deploy.train.job import DEFAULT_MODEL, RUNS, OnEpoch, Tell, TrainingJob, TrainingRun, not_shown, not_told
from edgevit_deploy.train.network import Beginning, fresh_network, loaded_network
from edgevit_deploy.train.order import Order, Segment
from edgevit_deploy.train.pictures import Pictures, open_pictures
from edgevit_deploy.train.progress import Remaining
from edgevit_deploy.train.records import Measured, Records, check_tensorboard
from edgevit_deploy.train.rounder import Rounder
from edgevit_deploy.train.weights import BEST, LAST, count_in, replace_best, weights_bytes
from edgevit_deploy.train.world import World, decoding_workers

TELL_EVERY_S = 5.0
"""Between two lines about how far it is; a training takes hours, and where there is no terminal each stays there."""

NONE = Count(top1=-1, top5=-1, pictures=0)
"""Where nothing was evaluated at the final size."""


class Session:
    """A training in one of the processes that share it."""

    def __init__(self, job: TrainingJob, world: World, device: torch.device, tell: Tell, on_epoch: OnEpoch) -> None:
        self.job, self.world, self.device = job, world, device
        self.tell = now_and_then(tell, TELL_EVERY_S) if world.is_first else not_told
        self.on_epoch = on_epoch if world.is_first else not_shown
        self.tell("listing the pictures")
        self.pictures, self.beginning, self.rounder = world.together(self._opened)
        self._agree_on_pictures()
        self.output = job.output or RUNS / self.beginning.network.spec.variant
        self.identity = identity(job, self.pictures, self.beginning.network.spec, self.rounder.digests if self.rounder else ())
        state, self.note = world.from_first(world.together(self._state_to_take_up))
        self.engine = Engine(
            self.rounder.rounded(self.beginning.network) if self.rounder else self.beginning.network,
            self.pictures,
            job.recipe,
            world,
            device,
            workers=decoding_workers(job.workers, world, device),
            strict=job.strict,
            compiled=job.compiled,
            rounder=self.rounder,
        )
        self.best = NONE
        self.elapsed_before_s = 0.0
        if state is not None:
            self._take_up(state)
        self.started_s = time.monotonic()
        self.progress = Remaining(self.engine)
        self.records = world.together(self._records)

    def run(self) -> TrainingRun:
        """Make every update that is still to be made.

        Raises:
            DeployError: as the engine, or the folder of the run cannot be written.
        """
        job, engine = self.job, self.engine
        for segment in engine.order.segments():
            if segment.stop <= engine.update:
                continue
            for _ in engine.run(segment):
                self.tell(self.progress.line(segment))
                if engine.update == segment.stop:
                    break
                if engine.update % job.log_every == 0:
                    self._record(self._measured(segment))
                if job.checkpoint_every and engine.update % job.checkpoint_every == 0:
                    self._save()
            self._end(segment)
        broken = engine.left_out()
        if self.records is not None:
            self.records.close()
        return TrainingRun(
            folder=self.output,
            weights=self.output / BEST,
            top1=self.best.top1,
            top5=self.best.top5,
            pictures=self.best.pictures,
            classes=self.pictures.classes,
            recipe=job.recipe,
            metrics=tuple(self.records.lines) if self.records is not None else (),
            broken=broken,
            processes=self.world.size,
            elapsed_s=self._elapsed_s(),
            notes=tuple(note for note in (*self.beginning.notes, self.note, self._note_on_the_average()) if note),
        )

    def _opened(self) -> tuple[Pictures, Beginning, Rounder | None]:
        """Open everything that may be refused, before anything is written."""
        job, recipe = self.job, self.job.recipe
        if job.tensorboard:
            check_tensorboard()
        pictures = open_pictures(job.data, labels=job.labels, val_share=job.val_share, seed=recipe.seed)
        Order(pictures=len(pictures.train), recipe=recipe, parts=self.world.size * recipe.accumulate).check()
        if job.finetune is not None:
            beginning = loaded_network(job.finetune, job.model, pictures.classes, recipe, job.preprocess)
        else:
            beginning = fresh_network(job.model or DEFAULT_MODEL, pictures.classes, recipe, job.preprocess)
        make_transform(recipe, recipe.image_size, beginning.network.spec.preprocess)
        rounder = None
        if job.rounding is not None:
            rounder = Rounder(job.rounding, beginning.network, pictures.train, self.world, self.tell, strict=job.strict)
        return pictures, beginning, rounder

    def _agree_on_pictures(self) -> None:
        digests = self.world.gathered(self.pictures.sha256)
        other = next((rank for rank, digest in enumerate(digests) if digest != digests[0]), None)
        self.world.agree(
            None
            if other is None
            else UsageError(
                f"--data {self.job.data}: process {other} sees other pictures there than process 0; copy the folder again"
            )
        )

    def _state_to_take_up(self) -> tuple[State | None, str]:
        """Return the run's last state where it is to go on; only the first process looks."""
        job = self.job
        if not self.world.is_first:
            return None, ""
        if not job.resume:
            if has_state(self.output):
                raise UsageError(
                    f"--output {self.output}: a training has been there; add --resume to go on with it, or give another folder"
                )
            return None, ""
        state, note = load_state(self.output)
        check_same(json.loads(state["identity"]), self.identity)
        notes = [note, self._note_on_the_best(state)]
        if state["processes"] != self.world.size:
            notes.append(f"saved by {state['processes']} processes, going on with {self.world.size}: the same up to rounding")
        return state, "; ".join(note for note in notes if note)

    def _note_on_the_best(self, state: State) -> str:
        """Let a state's best be what the file holds, and say so where that is another: it is written before the state is."""
        held, saved = count_in(self.output / BEST) or NONE, _count(state["best"])
        if held == saved:
            return ""
        order = Order(pictures=len(self.pictures.train), recipe=self.job.recipe, parts=1)
        if held == NONE and state["update"] == order.updates:
            raise UsageError(
                f"--resume: {self.output / BEST} is gone or damaged, and no evaluation is left that would write it; put it back, "
                "or give another --output"
            )
        state["best"] = [held.top1, held.top5, held.pictures]
        if held == NONE:
            return f"{BEST} is gone or damaged; the next evaluation at the final size writes it"
        return (
            f"{BEST} is of an evaluation after that state, {held.top1} of {held.pictures} right; it stays unless one does as well"
        )

    def _take_up(self, state: State) -> None:
        self.engine.take_up(state)
        self.best = _count(state["best"])
        self.elapsed_before_s = state["elapsed_s"]

    def _records(self) -> Records | None:
        if not self.world.is_first:
            return None
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"--output {self.output}: cannot be made ({error.strerror}); name a folder that can be written"
            ) from error
        job = self.job
        return Records(self.output, job.recipe, job.rounding, from_step=self.engine.update, tensorboard=job.tensorboard)

    def _end(self, segment: Segment) -> None:
        """Evaluate where it is time to, record, and save."""
        engine = self.engine
        last = engine.update == engine.order.updates
        if not (last or segment.epoch % self.job.evaluate_every == self.job.evaluate_every - 1):
            self._record(self._measured(segment))
            self._save()
            return
        side = segment.image_size
        spec = engine.network.spec.with_image_size((side, side))
        engine.prepare_evaluation()
        found = evaluate(
            (engine.network, engine.average.module),
            self.pictures.val,
            spec.preprocess,
            world=self.world,
            device=self.device,
            workers=engine.workers,
            tell=self.tell,
        )
        if found.broken and self.job.strict:
            broken = found.broken[0]
            self.world.agree(UsageError(f"--strict: {broken.file} cannot be read ({broken.why}); copy it again, or remove it"))
        engine.broken |= {item.file: item.why for item in found.broken}
        raw, averaged = found.counts
        shares = [count / max(1, averaged.pictures) for count in (raw.top1, raw.top5, averaged.top1, averaged.top5)]
        measured = self._measured(segment, shares, averaged.pictures)
        self._record(measured)
        self.on_epoch(measured)
        self._save_weights(averaged, spec, final_size=segment.first >= engine.order.small_updates)
        self._save()

    def _note_on_the_average(self) -> str:
        """Say if the averaged weights hold much of what the network was before it was trained."""
        recipe, updates = self.job.recipe, self.engine.order.updates
        reaches_back = 1 / (1 - recipe.ema_decay)
        if recipe.ema_warmup or reaches_back <= updates:
            return ""
        return (
            f"--ema-decay {recipe.ema_decay:g} reaches back {reaches_back:.0f} updates and the training has {updates}: "
            "the averaged weights are still near the first ones; add --ema-warmup"
        )

    def _measured(self, segment: Segment, shares: list[float] | None = None, pictures: int | None = None) -> Measured:
        """Return what was summed up since the last line, and begin anew."""
        engine = self.engine
        loss, meter = engine.mean_loss(), engine.meter
        (trained,) = self.world.sums(float(meter.pictures))
        engine.meter = engine.new_meter()
        top1, top5, ema_top1, ema_top5 = shares or (None, None, None, None)
        return Measured(
            epoch=round(engine.update / engine.order.updates_per_epoch, 4),
            step=engine.update,
            loss=loss,
            learning_rate=max(group["lr"] for group in engine.optimizer.param_groups),
            images_per_s=round(trained / max(1e-9, meter.seconds), 1),
            elapsed_s=round(self._elapsed_s(), 3),
            image_size=segment.image_size,
            top1=top1,
            top5=top5,
            ema_top1=ema_top1,
            ema_top5=ema_top5,
            pictures=pictures,
        )

    def _record(self, measured: Measured) -> None:
        self.world.together(lambda: self.records.add(measured) if self.records is not None else None)

    def _save(self) -> None:
        state = self.engine.state() | {
            "best": [self.best.top1, self.best.top5, self.best.pictures],
            "elapsed_s": self._elapsed_s(),
            "processes": self.world.size,
            "identity": json.dumps(self.identity),
        }
        self.world.together(lambda: save_state(self.output, state) if self.world.is_first else None)

    def _save_weights(self, count: Count, spec: ModelSpec, *, final_size: bool) -> None:
        """Write the averaged weights, also as the best ones where they are, of those at the final image size."""
        better = final_size and count.top1 >= self.best.top1
        if better:
            self.best = count
        self.world.together(lambda: self._write_weights(count, spec, better=better) if self.world.is_first else None)

    def _write_weights(self, count: Count, spec: ModelSpec, *, better: bool) -> None:
        averaged = self.engine.averaged()
        content = weights_bytes(averaged.state_dict(), spec, self.pictures, self.job.recipe, count, self.job.rounding)
        replace_durably({self.output / LAST: content})
        if better:
            replace_best(self.output, content, self.engine.calibration(self.output / LAST))

    def _elapsed_s(self) -> float:
        return self.elapsed_before_s + time.monotonic() - self.started_s


def _count(saved: list[int]) -> Count:
    top1, top5, pictures = saved
    return Count(top1=top1, top5=top5, pictures=pictures)
