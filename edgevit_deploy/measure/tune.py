"""`tune`: find the conversion that one runtime runs fastest, among those that pass the gate.

In floating point every form computes the same function, so this chooses among exact graphs; nothing is traded. In eight bits each
form, and each choice of what is rounded, gives other numbers: there a choice may lose no more than a stated number of dB of the
signal to quantisation-noise ratio (SQNR) that the start has. The search starts from what the target has. Parts are tried one
after another, each choice against the best so far, interleaved in one run with an A/A control; a choice wins only when it is
faster by more than that control. Passes are repeated until one changes nothing, since parts are not independent of each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.losses import HIGHEST_DB
from edgevit_deploy.deploy.scheme import RoundingChoices
from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.exporter import ExportPlan, shown
from edgevit_deploy.measure.alternatives import Alternatives
from edgevit_deploy.measure.bench import Timing
from edgevit_deploy.measure.benchmark import Candidate, benchmark
from edgevit_deploy.measure.machine import Machine
from edgevit_deploy.measure.result import Benchmark, Verdict
from edgevit_deploy.session import Session
from edgevit_deploy.spec import PROGRAM
from edgevit_deploy.workbench import Passed, Refused, Workbench, quiet

MAX_PASSES = 3

MAX_LOSS_DB = 0.5
"""The default bound. Two forms whose roundings fall otherwise differ by 0.2 dB on 32 pictures; keeping the positional encoding's
residual out of its convolution, the smallest choice worth its time, is 1.4 dB."""

ORIGINAL = "original graph"
BEST = "best so far"
START = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One choice for one part, tried against the best so far.

    `ratio` is its median latency over that of the best so far (below 1 is faster), with its 95 % interval and the run's A/A
    spread; None where it was rejected before that. `noise_ratio` is its error over PyTorch's own, of a quantised file over its
    emulation's; `sqnr_db` is against the float64 truth, None in floating point. `rejected` says why it could not win.
    """

    pass_number: int
    part: str
    choice: str
    instead_of: str
    noise_ratio: float | None = None
    sqnr_db: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    control_spread: float | None = None
    verdict: Verdict | None = None
    rejected: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What the start and the winner lose by rounding, and what a choice may: SQNR in dB on so many drawn pictures."""

    start_db: float
    winner_db: float
    max_loss_db: float
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What came out: the winner, every trial in order, and the last run: the winner and what it is compared with.

    Those are the default form and the original graph; of a quantised file the start and the float32 file, called `baseline`.
    """

    target: str
    runtime: str
    form: Form
    rounding: RoundingChoices
    trials: tuple[Trial, ...]
    final: Benchmark
    baseline: str
    losses: Losses | None

    def gain(self) -> tuple[float, tuple[float, float]] | None:
        """Return baseline / winner with its 95 % interval; None where the baseline gave no good file."""
        baseline = [comparison for comparison in self.final.comparisons() if comparison.label == self.baseline]
        return (baseline[0].ratio, baseline[0].interval) if baseline else None


class Tuner:
    """Converts, judges and times the alternatives of one target's conversion.

    Args:
        workbench: with the model.
        plan: a conversion of the deploy graph: where the search starts.
        timing: of every comparison.
        max_loss_db: how much lower than the start's a choice's SQNR may be, in eight bits.
        only: names of parts, to try these alone; empty for all.

    Raises:
        MissingError: nothing on this host executes the target's files.
        UsageError: a plan that the target refuses or that has no single shape, a name that is no part, or ranges with nothing to
            try by them.
    """

    def __init__(
        self,
        workbench: Workbench,
        plan: ExportPlan[Any],
        timing: Timing,
        max_loss_db: float = MAX_LOSS_DB,
        only: Sequence[str] = (),
    ) -> None:
        exporter = workbench.host.find_exporter(plan.target)
        exporter.refuse(plan)
        session_type = workbench.host.find_session(plan.target)
        if session_type is None or not session_type.executes_target:
            raise MissingError(f"nothing here executes {plan.target} files, so no form can be timed; see `{PROGRAM} doctor`")
        if plan.dynamic_batch or plan.dynamic_size:
            raise UsageError("tune times one shape; use --batch N and --image-size N or HxW")
        self.session_type: type[Session] = session_type
        self._workbench, self._timing, self._max_loss_db = workbench, timing, max_loss_db
        self._start = replace(plan, graph="deploy")
        ranges = workbench.rounded.source.choice.ranges
        self.alternatives = Alternatives(exporter, plan, forms=ranges is None, only=only)
        if not self.alternatives.parts:
            raise UsageError(
                f"--ranges {ranges}: they are of one form, and {plan.target} {plan.precision} has nothing else to choose; use "
                "--calibration DIR"
            )
        self._tried: dict[ExportPlan[Any], Passed | Refused] = {}

    def tune(self) -> Tuning:
        """Try every choice of every part until a pass changes nothing.

        Raises:
            UsageError: what the target has cannot be converted or fails the gate.
        """
        best, trials = self._start, list[Trial]()
        start = self._require(best)
        for pass_number in range(1, MAX_PASSES + 1):
            before = best
            for part in self.alternatives.parts:
                best, tried = self._try_part(best, part, pass_number)
                trials += tried
            if best == before:
                break
        baseline = self._baseline()
        return Tuning(
            target=best.target,
            runtime=self.session_type.name,
            form=best.form,
            rounding=best.scheme.differences(self._start.scheme) if best.scheme and self._start.scheme else {},
            trials=tuple(trials),
            final=self._final(best, *baseline),
            baseline=baseline[0],
            losses=None if best.scheme is None else self._losses(start, self._require(best)),
        )

    def _try_part(self, best: ExportPlan[Any], part: str, pass_number: int) -> tuple[ExportPlan[Any], list[Trial]]:
        """Time every choice for one part against the best; return the better one, and what was tried."""
        plans, instead_of = self.alternatives.others(best, part), self.alternatives.current(best, part)
        trials = {choice: Trial(pass_number=pass_number, part=part, choice=choice, instead_of=instead_of) for choice in plans}
        tried = {choice: self._try(plan) for choice, plan in plans.items()}
        for choice, result in tried.items():
            trials[choice] = self._judged(trials[choice], result, best)
        good = [choice for choice, result in tried.items() if isinstance(result, Passed)]
        if not good:
            return best, list(trials.values())
        self._workbench.step(f"timing {part}: {instead_of} against {', '.join(good)}")
        run = self._time({BEST: best, **{choice: plans[choice] for choice in good}})
        for choice, comparison in zip(good, run.comparisons(), strict=True):
            trials[choice] = replace(
                trials[choice],
                ratio=comparison.ratio,
                interval=comparison.interval,
                control_spread=comparison.control_spread,
                verdict=comparison.verdict,
            )
        faster = [choice for choice in good if trials[choice].verdict == "faster" and not trials[choice].rejected]
        winner = min(faster, key=lambda choice: trials[choice].ratio or 1.0, default=None)
        if winner is None:
            return best, list(trials.values())
        trials[winner] = replace(trials[winner], chosen=True)
        return plans[winner], list(trials.values())

    def _judged(self, trial: Trial, result: Passed | Refused, best: ExportPlan[Any]) -> Trial:
        """Return a trial with what its file computes, and whether that is too little of what the start does."""
        if isinstance(result, Refused):
            return replace(trial, rejected=result.reason)
        if best.scheme is None:
            return replace(trial, noise_ratio=result.noise_ratio)
        sqnr_db = _sqnr_db(result)
        lost = _sqnr_db(self._require(self._start)) - sqnr_db
        too_much = f"loses {lost:.1f} dB against the start, bound {self._max_loss_db:g}" if lost > self._max_loss_db else ""
        return replace(trial, noise_ratio=result.noise_ratio, sqnr_db=sqnr_db, rejected=too_much)

    def _losses(self, start: Passed, winner: Passed) -> Losses:
        return Losses(
            start_db=_sqnr_db(start),
            winner_db=_sqnr_db(winner),
            max_loss_db=self._max_loss_db,
            pictures=winner.widest.probes,
        )

    def _baseline(self) -> tuple[str, ExportPlan[Any]]:
        """Return what the winner's gain is over: the original graph, or the float32 file as the target writes it."""
        if self._start.scheme is None:
            return ORIGINAL, replace(self._start, graph="original")
        exporter = self._workbench.host.find_exporter(self._start.target)
        precision = next(iter(exporter.precisions))
        return f"{precision} file", replace(self._start, precision=precision, form=exporter.form, scheme=None)

    def _final(self, best: ExportPlan[Any], label: str, baseline: ExportPlan[Any]) -> Benchmark:
        self._workbench.step(f"timing the winner against the {label}")
        before = ("default form", replace(self._start, form=Form())) if best.scheme is None else (START, self._start)
        plans = {"winner": best}
        if best != before[1] and isinstance(self._try(before[1]), Passed):
            plans[before[0]] = before[1]
        if isinstance(self._try(baseline), Passed):
            plans[label] = baseline
        return self._time(plans)

    def _require(self, plan: ExportPlan[Any]) -> Passed:
        result = self._try(plan)
        if isinstance(result, Refused):
            raise UsageError(f"{plan.target}: the form that it has is no start for tuning: {result.reason}")
        return result

    def _try(self, plan: ExportPlan[Any]) -> Passed | Refused:
        """Convert and judge a plan once."""
        if plan not in self._tried:
            self._workbench.step(f"converting: {self._named(plan)}")
            self._tried[plan] = self._workbench.attempt(plan)
        return self._tried[plan]

    def _named(self, plan: ExportPlan[Any]) -> str:
        if plan.graph != "deploy":
            return ORIGINAL
        rounding = plan.scheme.differences(self._start.scheme) if plan.scheme and self._start.scheme else {}
        changes = {**plan.form.differences(Form()), **{part: shown(choice) for part, choice in rounding.items()}}
        return ", ".join(f"{part} {choice}" for part, choice in changes.items()) or "default form"

    def _time(self, plans: Mapping[str, ExportPlan[Any]]) -> Benchmark:
        return benchmark(
            [self._candidate(label, plan) for label, plan in plans.items()],
            threads=self._timing.threads,
            runs=self._timing.runs,
            regime=self._timing.regime,
            seed=self._timing.seed,
            step=quiet,  # a tuning has dozens of benchmarks
            measure_memory=False,
        )

    def _candidate(self, label: str, plan: ExportPlan[Any]) -> Candidate:
        result = self._try(plan)
        assert isinstance(result, Passed)
        images = self._workbench.probes(plan.image_size, plan.takes).inputs
        return Candidate.of(label, self.session_type, result.artifact, images, plan.batch)


def _sqnr_db(result: Passed) -> float:
    return HIGHEST_DB if result.widest.sqnr_db is None else result.widest.sqnr_db


def measured(tuning: Tuning, plan: ExportPlan[Any], timing: Timing, machine: Machine, flags: str = "") -> str:
    """Say in one sentence what decided, and by which command.

    Args:
        tuning: what came out.
        plan: where it started.
        timing: of every comparison.
        machine: that timed.
        flags: of the command, as they were given, beyond those that every tuning has here.
    """
    height, width = plan.image_size
    gain = f"the {tuning.baseline} cannot be converted or fails parity"
    if (against := tuning.gain()) is not None:
        ratio, (low, high) = against
        gain = f"{tuning.baseline} / this form {ratio:.2f} (95 %: {low:.2f} to {high:.2f}), A/A {tuning.final.control_spread:.1%}"
    lost = tuning.losses
    sqnr = f"SQNR {lost.winner_db:.1f} dB, {lost.start_db:.1f} at the start, {lost.pictures} pictures; " if lost else ""
    return (
        f"{gain}; {sqnr}{tuning.runtime}, {plan.spec.variant} {plan.precision}, batch {plan.batch}, {height}x{width}, "
        f"{timing.threads} thread{'s' if timing.threads > 1 else ''}, steady, {machine.cpu}; "
        f"{PROGRAM} tune {tuning.target} --model {plan.spec.variant} --precision {plan.precision} --threads {timing.threads} "
        f"--runs {timing.runs}{flags}"
    )
