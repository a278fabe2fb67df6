"""The gate: an artifact's outputs against the float64 truth, within a bound derived from PyTorch's own rounding noise."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.parity.bounds import Tolerance, tolerance_for
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.session import Session
from edgevit_deploy.spec import Precision

NOT_FINITE = float(np.finfo(np.float64).max)
"""The error of an output that is NaN or infinite: past every bound, and unlike infinity it can be written as JSON."""

Status = Literal["passed", "failed", "built, not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the original graph computes on some probes.

    `outputs` is float64 (probes, num_classes). `noise` is, for one precision, the largest absolute error against it of
    PyTorch's own run in that precision: float32 itself, or the emulation of fp16 or bf16.
    """

    probes: Probes
    outputs: NDArray[np.float64]
    noise: float
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDiff:
    """How one run over some probes compares with the truth.

    Attributes:
        batch: images a run.
        image_size: (height, width) in pixels.
        probes: how many probes were compared.
        max_abs: largest absolute error; the largest float64 when any output is not finite.
        worst_probe: on which probe.
        tolerance: the bound and where it comes from.
        top1_agreement: share of probes whose largest output is the truth's.
        smallest_margin: smallest gap between the truth's first and second class, to judge a lost agreement by.
        sqnr_db: signal to quantisation-noise ratio over all outputs, in dB; None without any error or with a non-finite output.
        cosine: smallest cosine similarity of a probe.
    """

    batch: int
    image_size: tuple[int, int]
    probes: int
    max_abs: float
    worst_probe: str
    tolerance: Tolerance
    top1_agreement: float
    smallest_margin: float
    sqnr_db: float | None
    cosine: float

    @property
    def ok(self) -> bool:
        """Whether the largest error is within the bound; nothing that is not finite is."""
        return self.max_abs <= self.tolerance.atol

    @property
    def noise_ratio(self) -> float:
        """The largest error in units of PyTorch's own noise."""
        if self.tolerance.noise > 0:
            return self.max_abs / self.tolerance.noise
        return 0.0 if self.max_abs == 0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """The verdict on one file.

    `instead` says what was checked when the file itself could not be run here; `diffs` is then about that.
    """

    status: Status
    runtime: str
    diffs: tuple[OutputDiff, ...]
    instead: str = ""

    @property
    def ok(self) -> bool:
        """True only when the file itself ran and every comparison held."""
        return self.status == "passed"

    @property
    def worst(self) -> OutputDiff | None:
        """The comparison with the largest error in units of noise."""
        return max(self.diffs, key=lambda diff: diff.noise_ratio, default=None)


def compare(outputs: NDArray[Any], truth: Truth, target: str, batch: int) -> OutputDiff:
    """Compare outputs (probes, num_classes) with the truth; any NaN or infinity counts as an infinite error."""
    exact = truth.outputs
    actual = np.asarray(outputs, dtype=np.float64)
    errors = np.abs(actual - exact)
    errors[~np.isfinite(errors)] = NOT_FINITE
    worst_row = int(errors.max(axis=1).argmax())
    top_two = np.sort(exact, axis=1)[:, -2:] if exact.shape[1] > 1 else np.repeat(exact, 2, axis=1)
    return OutputDiff(
        batch=batch,
        image_size=truth.probes.size,
        probes=len(truth.probes.names),
        max_abs=float(errors.max()),
        worst_probe=truth.probes.names[worst_row],
        tolerance=tolerance_for(target, truth.precision, truth.noise, float(np.abs(exact).max())),
        top1_agreement=float((actual.argmax(axis=1) == exact.argmax(axis=1)).mean()),
        smallest_margin=float((top_two[:, 1] - top_two[:, 0]).min()),
        sqnr_db=_sqnr_db(exact, errors),
        cosine=_smallest_cosine(exact, actual),
    )


def run_in_batches(session: Session, inputs: NDArray[np.float32], batch: int) -> NDArray[Any]:
    """Run images (n, 3, height, width) through a session, `batch` at a time, filling a short last batch with the first images."""
    (input_spec,), (output_spec,) = session.inputs, session.outputs
    rows = [
        session.run({input_spec.name: inputs[np.arange(start, start + batch) % len(inputs)]})[output_spec.name]
        for start in range(0, len(inputs), batch)
    ]
    return np.concatenate(rows)[: len(inputs)]


def check_session(session: Session, truths: Sequence[Truth], target: str, batches: Sequence[int]) -> ParityReport:
    """Compare an open session with the truth on every probe, at every batch size and every image size."""
    diffs = tuple(
        compare(run_in_batches(session, truth.probes.inputs, batch), truth, target, batch)
        for truth in truths
        for batch in batches
    )
    good = all(diff.ok for diff in diffs)
    if session.substitute:
        instead = f"{session.substitute}: {'passed' if good else 'failed'}"
        return ParityReport(status="built, not run" if good else "failed", runtime=session.name, diffs=diffs, instead=instead)
    return ParityReport(status="passed" if good else "failed", runtime=session.name, diffs=diffs)


def top_classes(outputs: NDArray[Any], labels: Sequence[str], count: int = 5) -> Iterator[list[tuple[str, float]]]:
    """Yield, for each image, its `count` largest outputs as (label, value), largest first; ties go to the lower class."""
    for row in outputs:
        order = np.argsort(-row, kind="stable")[:count]
        yield [(labels[int(index)], float(row[index])) for index in order]


def _sqnr_db(exact: NDArray[np.float64], errors: NDArray[np.float64]) -> float | None:
    if not errors.any() or errors.max() == NOT_FINITE:
        return None
    return 10 * math.log10(float(np.square(exact).sum()) / float(np.square(errors).sum()))


def _smallest_cosine(exact: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    if not np.isfinite(actual).all():
        return -1.0
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(actual, axis=1)
    return float(((exact * actual).sum(axis=1) / np.where(norms > 0, norms, 1)).min())
