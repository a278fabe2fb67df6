"""`tune`: find the form of the deploy graph that one runtime runs fastest, among forms that pass the parity gate.

Every form computes the same function, so this chooses among exact graphs; nothing is traded. The search starts from the form that
the target has. Parts are tried one after another, each choice against the best form so far, interleaved in one run with an A/A
control; a choice wins only when it is faster by more than that control. Passes are repeated until one changes nothing, since
parts are not independent of each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgevit_deploy.deploy.form import CHOICES, Form
from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.measure.bench import Timing
from edgevit_deploy.measure.benchmark import Candidate, benchmark
from edgevit_deploy.measure.machine import Machine
from edgevit_deploy.measure.result import Benchmark, Verdict
from edgevit_deploy.session import Session
from edgevit_deploy.spec import PROGRAM
from edgevit_deploy.workbench import Passed, Refused, Workbench, quiet

MAX_PASSES = 3

ORIGINAL = "original graph"
BEST = "best so far"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One choice for one part, tried against the best form so far.

    `ratio` is its median latency over that of the best so far (below 1 is faster), with its 95 % interval and the run's A/A
    spread; None where it was rejected, with the reason in `rejected`. `noise_ratio` is its error over PyTorch's own.
    """

    pass_number: int
    part: str
    choice: str
    instead_of: str
    noise_ratio: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    control_spread: float | None = None
    verdict: Verdict | None = None
    rejected: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What came out: the winner, every trial in order, and the last run: winner, default form and original graph."""

    target: str
    runtime: str
    form: Form
    trials: tuple[Trial, ...]
    final: Benchmark

    def gain(self) -> tuple[float, tuple[float, float]] | None:
        """Return original graph / winner with its 95 % interval; None where the original graph gave no good file."""
        original = [comparison for comparison in self.final.comparisons() if comparison.label == ORIGINAL]
        return (original[0].ratio, original[0].interval) if original else None


class Tuner:
    """Converts, judges and times the forms of one target.

    Args:
        workbench: with the model.
        plan: a conversion of the deploy graph; its form is where the search starts, and is replaced by each that is tried.
        timing: of every comparison.

    Raises:
        MissingError: nothing on this host executes the target's files.
    """

    def __init__(self, workbench: Workbench, plan: ExportPlan[Any], timing: Timing) -> None:
        workbench.host.find_exporter(plan.target).refuse(plan)
        session_type = workbench.host.find_session(plan.target)
        if session_type is None or not session_type.executes_target:
            raise MissingError(f"nothing here executes {plan.target} files, so no form can be timed; see `{PROGRAM} doctor`")
        if plan.dynamic_batch or plan.dynamic_size:
            raise UsageError("tune times one shape; use --batch N and --image-size N or HxW")
        self.session_type: type[Session] = session_type
        self._workbench, self._plan, self._timing = workbench, plan, timing
        self._tried: dict[ExportPlan[Any], Passed | Refused] = {}

    def tune(self) -> Tuning:
        """Try every choice of every part until a pass changes nothing.

        Raises:
            UsageError: the form that the target has cannot be converted or fails the gate.
        """
        best, trials = self._plan.form, []
        self._require(self._with(best))
        for pass_number in range(1, MAX_PASSES + 1):
            before = best
            for part in CHOICES:
                best, tried = self._try_part(best, part, pass_number)
                trials += tried
            if best == before:
                break
        return Tuning(
            target=self._plan.target,
            runtime=self.session_type.name,
            form=best,
            trials=tuple(trials),
            final=self._final(best),
        )

    def _try_part(self, best: Form, part: str, pass_number: int) -> tuple[Form, list[Trial]]:
        """Time every choice for one part against the best form; return the better form, and what was tried."""
        options = best.alternatives()[part]
        trials = {
            form: Trial(pass_number=pass_number, part=part, choice=form.choices()[part], instead_of=best.choices()[part])
            for form in options
        }
        tried = {form: self._try(self._with(form)) for form in options}
        good = [form for form, result in tried.items() if isinstance(result, Passed)]
        for form, result in tried.items():
            change = {"noise_ratio": result.noise_ratio} if isinstance(result, Passed) else {"rejected": result.reason}
            trials[form] = replace(trials[form], **change)
        if not good:
            return best, list(trials.values())
        self._workbench.step(f"timing {part}: {best.choices()[part]} against {', '.join(form.choices()[part] for form in good)}")
        run = self._time({BEST: self._with(best), **{form.choices()[part]: self._with(form) for form in good}})
        for form, comparison in zip(good, run.comparisons(), strict=True):
            trials[form] = replace(
                trials[form],
                ratio=comparison.ratio,
                interval=comparison.interval,
                control_spread=comparison.control_spread,
                verdict=comparison.verdict,
            )
        faster = [form for form in good if trials[form].verdict == "faster"]
        winner = min(faster, key=lambda form: trials[form].ratio or 1.0, default=best)
        if winner != best:
            trials[winner] = replace(trials[winner], chosen=True)
        return winner, list(trials.values())

    def _final(self, best: Form) -> Benchmark:
        self._workbench.step("timing the winner against the original graph")
        plans = {"winner": self._with(best)}
        if best != Form() and isinstance(self._try(self._with(Form())), Passed):
            plans["default form"] = self._with(Form())
        original = replace(self._plan, graph="original")
        if isinstance(self._try(original), Passed):
            plans[ORIGINAL] = original
        return self._time(plans)

    def _with(self, form: Form) -> ExportPlan[Any]:
        return replace(self._plan, form=form, graph="deploy")

    def _require(self, plan: ExportPlan[Any]) -> None:
        result = self._try(plan)
        if isinstance(result, Refused):
            raise UsageError(f"{plan.target}: the form that it has is no start for tuning: {result.reason}")

    def _try(self, plan: ExportPlan[Any]) -> Passed | Refused:
        """Convert and judge a plan once."""
        if plan not in self._tried:
            named = ", ".join(f"{part} {choice}" for part, choice in plan.form.differences(Form()).items()) or "default form"
            self._workbench.step(f"converting: {named if plan.graph == 'deploy' else ORIGINAL}")
            self._tried[plan] = self._workbench.attempt(plan)
        return self._tried[plan]

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


def measured(tuning: Tuning, plan: ExportPlan[Any], timing: Timing, machine: Machine) -> str:
    """Say in one sentence what decided, and by which command."""
    height, width = plan.image_size
    gain = "the original graph cannot be converted or fails parity"
    if (against := tuning.gain()) is not None:
        ratio, (low, high) = against
        gain = f"original graph / this form {ratio:.2f} (95 %: {low:.2f} to {high:.2f}), A/A {tuning.final.control_spread:.1%}"
    return (
        f"{gain}; {tuning.runtime}, {plan.spec.variant} {plan.precision}, batch {plan.batch}, {height}x{width}, "
        f"{timing.threads} thread{'s' if timing.threads > 1 else ''}, steady, {machine.cpu}; "
        f"{PROGRAM} tune {tuning.target} --model {plan.spec.variant} --precision {plan.precision} --threads {timing.threads} "
        f"--runs {timing.runs}"
    )
