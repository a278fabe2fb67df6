"""`tune`: find the form of the deploy graph that one runtime runs fastest, among forms that pass the parity gate.

Every form computes the same function, so this chooses among exact graphs; nothing is traded. The search starts from the form that
the target has. Parts are tried one after another, each choice against the best form so far, interleaved in one run with an A/A
control; a choice wins only when it is faster by more than that control. Passes are repeated until one changes nothing, since
parts are not independent of each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevit_deploy.deploy.form import CHOICES, Form
from edgevit_deploy.errors import DeployError, MissingError, UsageError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan
from edgevit_deploy.measure.benchmark import Candidate, benchmark
from edgevit_deploy.measure.result import REGIMES, Benchmark, Verdict
from edgevit_deploy.parity.gate import Truth
from edgevit_deploy.pipeline import SessionFinder, Step, Workbench, check_artifact, export, promised_batches
from edgevit_deploy.session import Session

MAX_PASSES = 3

ORIGINAL = "original graph"
BEST = "best so far"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How each comparison is timed: threads of the runtime, timed runs of each form, and the seed of their order."""

    threads: int
    runs: int
    seed: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """One form's file that passed the gate."""

    artifact: Artifact
    noise_ratio: float


class Tuner:
    """Converts, judges and times the forms of one target.

    Args:
        bench: the model.
        exporter: of the target.
        plan: a conversion of the deploy graph; its form is where the search starts, and is replaced by each that is tried.
        find_session: finds the runtime of a target on this host.
        folder: scratch space for the files.
        settings: of every timing.
        step: told what is being done.

    Raises:
        MissingError: nothing on this host executes the target's files.
    """

    def __init__(
        self,
        bench: Workbench,
        exporter: Exporter[Any],
        plan: ExportPlan[Any],
        find_session: SessionFinder,
        folder: Path,
        settings: Settings,
        step: Step,
    ) -> None:
        exporter.refuse(plan)
        session_type = find_session(exporter.target)
        if session_type is None or not session_type.executes_target:
            raise MissingError(f"nothing here executes {exporter.target} files, so no form can be timed; see `convert.py doctor`")
        if plan.dynamic_batch or plan.dynamic_size:
            raise UsageError("tune times one shape; use --batch N and --image-size N or HxW")
        self.session_type: type[Session] = session_type
        self._bench, self._exporter, self._plan = bench, exporter, plan
        self._find_session, self._folder, self._settings, self._step = find_session, folder, settings, step
        self._truths: Sequence[Truth] = bench.truths_of(plan, exporter.output_form(plan.options))
        self._built: dict[ExportPlan[Any], _Built | str] = {}

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
            target=self._exporter.target,
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
        good = {form: built for form in options if isinstance(built := self._build(self._with(form)), _Built)}
        for form in options:
            built = self._build(self._with(form))
            change = {"rejected": built} if isinstance(built, str) else {"noise_ratio": built.noise_ratio}
            trials[form] = replace(trials[form], **change)
        if not good:
            return best, list(trials.values())
        self._step(f"timing {part}: {best.choices()[part]} against {', '.join(form.choices()[part] for form in good)}")
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
        self._step("timing the winner against the original graph")
        plans = {"winner": self._with(best)}
        if best != Form() and isinstance(self._build(self._with(Form())), _Built):
            plans["default form"] = self._with(Form())
        original = replace(self._plan, graph="original")
        if isinstance(self._build(original), _Built):
            plans[ORIGINAL] = original
        return self._time(plans)

    def _with(self, form: Form) -> ExportPlan[Any]:
        return replace(self._plan, form=form, graph="deploy")

    def _require(self, plan: ExportPlan[Any]) -> None:
        built = self._build(plan)
        if isinstance(built, str):
            raise UsageError(f"{self._exporter.target}: the form that it has is no start for tuning: {built}")

    def _build(self, plan: ExportPlan[Any]) -> _Built | str:
        """Convert and judge a plan once; return the file, or why there is none."""
        if plan not in self._built:
            named = ", ".join(f"{part} {choice}" for part, choice in plan.form.differences(Form()).items()) or "default form"
            self._step(f"converting: {named if plan.graph == 'deploy' else ORIGINAL}")
            self._built[plan] = self._convert(plan)
        return self._built[plan]

    def _convert(self, plan: ExportPlan[Any]) -> _Built | str:
        folder = self._folder / str(len(self._built))
        folder.mkdir(parents=True)
        try:
            self._exporter.refuse(plan)
            artifact = export(self._bench, self._exporter, plan, folder)
            report = check_artifact(artifact, self._truths, promised_batches(artifact), self._find_session)
        except DeployError as error:
            return str(error)
        worst = report.worst
        if report.status != "passed" or worst is None:
            return f"parity {report.status}" + (
                f": {worst.noise_ratio:.2g} x noise, bound {worst.tolerance.k:g}" if worst else ""
            )
        return _Built(artifact=artifact, noise_ratio=worst.noise_ratio)

    def _time(self, plans: Mapping[str, ExportPlan[Any]]) -> Benchmark:
        return benchmark(
            [self._candidate(label, plan) for label, plan in plans.items()],
            threads=self._settings.threads,
            runs=self._settings.runs,
            regime=REGIMES["steady"],
            seed=self._settings.seed,
            step=_quiet,
            measure_memory=False,
        )

    def _candidate(self, label: str, plan: ExportPlan[Any]) -> Candidate:
        built = self._build(plan)
        assert isinstance(built, _Built)
        artifact, images = built.artifact, self._truths[0].probes.inputs
        return Candidate(
            label=label,
            session_type=self.session_type,
            path=artifact.path,
            inputs=artifact.inputs,
            outputs=artifact.outputs,
            feeds={artifact.inputs[0].name: images[np.arange(plan.batch) % len(images)]},
        )


def _quiet(_: str) -> None:
    """Leave out the steps of each benchmark; a tuning has dozens."""
