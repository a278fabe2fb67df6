"""The gate: an artifact's outputs against the float64 truth, within a bound derived from PyTorch's own rounding noise."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.data.preprocess import Images
from edgevit_deploy.errors import RunError
from edgevit_deploy.parity.bounds import NoiseMultiple, Tolerance, measure_of, tolerance_for
from edgevit_deploy.parity.pixels import PixelAgreement, pixel_agreement
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.session import Session
from edgevit_deploy.spec import Precision, Size, Task

NOT_FINITE = float(np.finfo(np.float64).max)
"""The error of an output that is NaN or infinite: past every bound, and unlike infinity it can be written as JSON."""

Status = Literal["passed", "failed", "built, not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the original graph computes on some probes.

    `outputs` has a float64 array (probes, ...) for each output's name. `noise` is, for one precision, the error against it of
    PyTorch's own run in that precision, in the measure of that precision: float32 itself, or an emulation.
    """

    probes: Probes
    outputs: Mapping[str, NDArray[np.float64]]
    noise: Mapping[str, float]
    precision: Precision
    task: Task
    bound: NoiseMultiple | None = None
    """In place of the target's own, where these probes need another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDiff:
    """How one output of one run over some probes compares with the truth.

    Attributes:
        output: its name.
        batch: images a run.
        image_size: (height, width) in pixels.
        probes: how many probes were compared.
        max_abs: largest absolute error; the largest float64 when any output is not finite.
        worst_probe: on which probe.
        tolerance: the bound and where it comes from.
        top1_agreement: share of probes whose largest output is the truth's; None where the task is not to classify.
        smallest_margin: smallest gap between the truth's first and second class, to judge a lost agreement by; None likewise.
        sqnr_db: signal to quantisation-noise ratio over all outputs, in dB; None without any error or with a non-finite output.
        cosine: smallest cosine similarity of a probe.
        rms: root of the mean square error; the largest float64 when any output is not finite. Not in reports of earlier versions.
        pixels: on how many pixels the class is the truth's; None where the task gives pixels no class.
    """

    output: str
    batch: int
    image_size: tuple[int, int]
    probes: int
    max_abs: float
    worst_probe: str
    tolerance: Tolerance
    top1_agreement: float | None
    smallest_margin: float | None
    sqnr_db: float | None
    cosine: float
    rms: float | None = None
    pixels: PixelAgreement | None = None

    @property
    def error(self) -> float:
        """The error in the measure of the bound."""
        if self.tolerance.measure == "largest":
            return self.max_abs
        return NOT_FINITE if self.rms is None else self.rms

    @property
    def ok(self) -> bool:
        """Whether the error is within the bound, which nothing that is not finite is, and every pixel that is no tie agrees."""
        return self.error <= self.tolerance.atol and (self.pixels is None or self.pixels.ok)

    @property
    def agreeing(self) -> int | None:
        """On how many of the probes the largest output is the truth's; None where the task is not to classify."""
        if self.top1_agreement is None:
            return None
        share = min(1.0, max(0.0, self.top1_agreement))  # it may have been read from anyone's manifest
        return round(share * self.probes)

    @property
    def top1(self) -> str:
        """The same as `108 of 108`; empty where the task is not to classify."""
        return "" if self.agreeing is None else f"{self.agreeing} of {self.probes}"

    @property
    def noise_ratio(self) -> float:
        """The error in units of PyTorch's own noise."""
        if self.tolerance.noise > 0:
            return self.error / self.tolerance.noise
        return 0.0 if self.error == 0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """The verdict on one file.

    `diffs` has, for each image size, first those on the given probes. `instead` says what was checked when the file itself could
    not be run here; `diffs` is then about that.
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
    def verdict(self) -> Status:
        """The status, or failed where the comparisons do not bear it out: a report that was read may come from anyone."""
        if not all(diff.ok for diff in self.diffs) or (self.status == "passed" and not self.diffs):
            return "failed"
        return self.status

    @property
    def top1_agreement(self) -> float | None:
        """The smallest share of probes with the true first class; None where nothing was compared, or not to classify."""
        return min((diff.top1_agreement for diff in self.diffs if diff.top1_agreement is not None), default=None)

    @property
    def top1(self) -> str:
        """On how many probes the first class is the true one, as `108 of 108`; empty where none has classes.

        A set of probes that is run at several batch sizes is counted once, at the one with the fewest.
        """
        counts: dict[tuple[Size, int, Tolerance], int] = {}
        for diff in self.diffs:
            if diff.agreeing is not None:
                probes = (diff.image_size, diff.probes, diff.tolerance)
                counts[probes] = min(diff.agreeing, counts.get(probes, diff.probes))
        return f"{sum(counts.values())} of {sum(count for _, count, _ in counts)}" if counts else ""

    @property
    def pixels(self) -> PixelAgreement | None:
        """The comparison with the smallest share of pixels that agree; None where pixels have no class."""
        found = [diff.pixels for diff in self.diffs if diff.pixels is not None]
        return min(found, key=lambda pixels: (-pixels.wrong, pixels.share), default=None)

    @property
    def worst(self) -> OutputDiff | None:
        """The comparison with the largest error in units of noise."""
        return max(self.diffs, key=lambda diff: diff.noise_ratio, default=None)

    def widest(self, output: str, image_size: Size) -> Tolerance | None:
        """The bound for other pictures of a size: that of the probes with the largest noise; None where no error is bounded."""
        tolerances = [diff.tolerance for diff in self._of(output, image_size) if diff.tolerance.measure == "largest"]
        return max(tolerances, key=lambda tolerance: tolerance.atol, default=None)

    def given(self, output: str, image_size: Size) -> tuple[OutputDiff, ...]:
        """The comparisons on the given probes, of which golden data are some: at each batch size, and none where nothing was run.

        They come first, before those on the noisiest pictures, which have a bound of their own; earlier versions had no others.
        """
        there = self._of(output, image_size)
        return tuple(diff for diff in there if (diff.probes, diff.tolerance) == (there[0].probes, there[0].tolerance))

    def _of(self, output: str, image_size: Size) -> list[OutputDiff]:
        return [diff for diff in self.diffs if (diff.output, diff.image_size) == (output, image_size)]


def why_not_finite(diff: OutputDiff, precision: Precision) -> str:
    """Return in a sentence why an error is not finite, and what to do; nothing where it is."""
    if diff.max_abs < NOT_FINITE:
        return ""
    if precision == "fp16":
        return (
            "Its outputs are not finite: half precision ends at 65504, and a value of this network is larger. Use fp32, or bf16 "
            "where the target has it."
        )
    return "Its outputs are not finite."


def compare(name: str, outputs: NDArray[Any], truth: Truth, bound: NoiseMultiple, batch: int) -> OutputDiff:
    """Compare one output (probes, ...) with the truth of that name; any NaN or infinity counts as the largest error there is."""
    exact = truth.outputs[name].reshape(len(truth.probes.names), -1)
    actual = np.asarray(outputs, dtype=np.float64).reshape(exact.shape)
    errors = np.abs(actual - exact)
    errors[~np.isfinite(errors)] = NOT_FINITE
    worst_row = int(errors.max(axis=1).argmax())
    agreement, margin = _classes(exact, actual) if truth.task == "classify" else (None, None)
    scale = root_mean_square(exact) if measure_of(truth.precision) == "rms" else float(np.abs(exact).max())
    tolerance = tolerance_for(truth.bound or bound, truth.precision, truth.noise[name], scale)
    pixels = None
    if truth.task == "segment":
        pixels = pixel_agreement(truth.outputs[name], actual.reshape(truth.outputs[name].shape), tolerance.atol)
    return OutputDiff(
        output=name,
        batch=batch,
        image_size=truth.probes.size,
        probes=len(truth.probes.names),
        max_abs=float(errors.max()),
        worst_probe=truth.probes.names[worst_row],
        tolerance=tolerance,
        top1_agreement=agreement,
        smallest_margin=margin,
        sqnr_db=_sqnr_db(exact, errors),
        cosine=_smallest_cosine(exact, actual),
        rms=NOT_FINITE if errors.max() == NOT_FINITE else root_mean_square(errors),
        pixels=pixels,
    )


def root_mean_square(values: NDArray[np.float64]) -> float:
    """Return the root of the mean of the squares."""
    return float(np.sqrt(np.square(values).mean()))


def run_in_batches(session: Session, inputs: Images, batch: int) -> dict[str, NDArray[Any]]:
    """Run images (n, 3, height, width) through a session, `batch` at a time, filling a short last batch with the first images.

    Returns:
        Each output by its name, (n, ...).
    """
    (input_spec,) = session.inputs
    runs = [
        session.run({input_spec.name: inputs[np.arange(start, start + batch) % len(inputs)]})
        for start in range(0, len(inputs), batch)
    ]
    return {spec.name: np.concatenate([run[spec.name] for run in runs])[: len(inputs)] for spec in session.outputs}


def check_session(session: Session, truths: Sequence[Truth], bound: NoiseMultiple, batches: Sequence[int]) -> ParityReport:
    """Compare an open session with the truth on every probe, at every batch size and every image size, output by output.

    Raises:
        RunError: the session's outputs are not those of the truth.
    """
    diffs = tuple(
        compare(name, outputs, truth, bound, batch)
        for truth in truths
        for batch in batches
        for name, outputs in _same_names(run_in_batches(session, truth.probes.inputs, batch), truth).items()
    )
    good = all(diff.ok for diff in diffs)
    if session.substitute:
        instead = f"{session.substitute}: {'passed' if good else 'failed'}"
        return ParityReport(status="built, not run" if good else "failed", runtime=session.name, diffs=diffs, instead=instead)
    return ParityReport(status="passed" if good else "failed", runtime=session.name, diffs=diffs)


def _same_names(outputs: dict[str, NDArray[Any]], truth: Truth) -> dict[str, NDArray[Any]]:
    if list(outputs) != list(truth.outputs):
        raise RunError(f"the file returns {', '.join(outputs)}, the network gives {', '.join(truth.outputs)}; convert again")
    return outputs


def _classes(exact: NDArray[np.float64], actual: NDArray[np.float64]) -> tuple[float, float]:
    """Return the share of rows with the same largest class, and the smallest gap between the first two true ones."""
    top_two = np.sort(exact, axis=1)[:, -2:] if exact.shape[1] > 1 else np.repeat(exact, 2, axis=1)
    same = (actual.argmax(axis=1) == exact.argmax(axis=1)) & np.isfinite(actual).all(axis=1)
    return float(same.mean()), float((top_two[:, 1] - top_two[:, 0]).min())


def top_classes(outputs: NDArray[Any], labels: Sequence[str], count: int = 5) -> Iterator[list[tuple[str, float]]]:
    """Yield, for each image, its `count` largest outputs as (label, value), largest first; ties go to the lower class.

    An image with an output that is not finite has none: nothing is decided for it.
    """
    for row in outputs:
        if not np.isfinite(row).all():
            yield []
            continue
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
