"""The golden data of a bundle: run through its file again, on this host, and held to what this version allows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.bundle.folder import read_golden
from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.errors import BundleError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.parity.bounds import NOISE_CEILING, Measure, NoiseMultiple, measure_of
from edgevit_deploy.parity.gate import NOT_FINITE, Status, root_mean_square, run_in_batches
from edgevit_deploy.parity.integers import GOLDEN
from edgevit_deploy.spec import task_of
from edgevit_deploy.workbench import Host, promised_batches

FLOAT32_HALF_ULP = 2.0**-24
"""Golden outputs are float64 rounded to float32: each may be off by this share of itself."""


MAX_GOLDEN = 1e6
"""No output of a network that anyone serves is larger: half precision ends at 65504. The bound grows with the outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCheck:
    """How a bundle's file reproduces its golden outputs on this host.

    `file` is the file that ran: the model, or the source that it was built from (status `built, not run`). `substitute` says
    what was executed in place of what the file asks for (then, too, it was not run). `top1` says on how many of the inputs the
    largest output is the right one, as `2 of 2`; nothing where the network does not classify, or where that was not looked at.
    """

    status: Status
    runtime: str
    file: str
    max_abs: float | None
    atol: float
    substitute: str = ""
    top1: str = ""


def runnable(artifact: Artifact, host: Host) -> Artifact | None:
    """Return the artifact itself if this host runs it, else what it was built from if this host runs that, else None."""
    if host.find_session(artifact.target) is not None:
        return artifact
    return runnable(artifact.built_from, host) if artifact.built_from is not None else None


def check_golden(bundle: Path, manifest: Manifest, artifact: Artifact, host: Host) -> GoldenCheck:
    """Run the golden inputs, at each batch size that the file promises, and compare with the golden outputs.

    Raises:
        BundleError: golden data that cannot be read, or that are too large to prove anything.
        RunError: the runtime could not load or run the file.
    """
    inputs, expected = read_golden(bundle, manifest)
    for name, values in expected.items():
        if (largest := float(np.abs(values).max())) > MAX_GOLDEN:
            raise BundleError(f"{bundle}: its golden {name} reach {largest:.2g}, and no bound can grow with that; convert again")
    bounds = golden_bounds(manifest, expected, host)
    chosen = runnable(artifact, host)
    session_type = host.find_session(chosen.target) if chosen else None
    if chosen is None or session_type is None:
        atol = next(iter(bounds.values()))
        return GoldenCheck(status="built, not run", runtime="none on this host", file="", max_abs=None, atol=atol)
    with session_type(chosen.path, inputs=chosen.inputs, outputs=chosen.outputs) as session:
        errors, measure, right = dict.fromkeys(expected, 0.0), measure_of(manifest.precision), len(inputs)
        for batch in promised_batches(chosen):
            for name, outputs in run_in_batches(session, inputs, batch).items():
                errors[name] = max(errors[name], _error(outputs, expected[name], measure))
                right = min(right, _right(outputs, expected[name]))
        substitute = session.substitute
    worst = max(errors, key=lambda name: (errors[name] > bounds[name], errors[name]))
    good: Status = "passed" if chosen is artifact and not substitute else "built, not run"
    return GoldenCheck(
        status=good if errors[worst] <= bounds[worst] else "failed",
        runtime=session_type.name,
        file=chosen.path.relative_to(bundle).as_posix(),
        max_abs=errors[worst],
        atol=bounds[worst],
        substitute=substitute,
        top1=f"{right} of {len(inputs)}" if task_of(manifest.conversion.returns) == "classify" else "",
    )


def _right(outputs: NDArray[np.float32], expected: NDArray[np.float32]) -> int:
    """Return on how many inputs the largest output is the expected one; none is where one is not finite."""
    rows, exact = outputs.reshape(len(expected), -1), expected.reshape(len(expected), -1)
    return int(((rows.argmax(axis=1) == exact.argmax(axis=1)) & np.isfinite(rows).all(axis=1)).sum())


def _error(outputs: NDArray[np.float32], expected: NDArray[np.float32], measure: Measure) -> float:
    """Return the difference in a measure; anything that is not finite, on either side, is the largest number there is."""
    with np.errstate(invalid="ignore"):
        differences = outputs.astype(np.float64) - expected
    error = float(np.abs(differences).max()) if measure == "largest" else root_mean_square(differences)
    return error if np.isfinite(error) else NOT_FINITE


def golden_bounds(manifest: Manifest, expected: Mapping[str, NDArray[np.float32]], host: Host) -> dict[str, float]:
    """Return, for each output, the bound recorded for the given probes, but never more than this version's own rules allow.

    Golden inputs are some of these probes, so the wider bound for other pictures is not theirs; of a quantised file they are
    judged by themselves. A bundle may come from anywhere: a manifest that grants itself a wide bound does not get it.

    Raises:
        UsageError: a target or a precision that this version does not have.
    """
    bounds = {}
    for name, values in expected.items():
        given = manifest.parity.given(name, manifest.model.image_size)
        recorded = given[0].tolerance.atol if given else 0.0
        bounds[name] = min(recorded, most_allowed(manifest, values, host)) + FLOAT32_HALF_ULP * float(np.abs(values).max())
    return bounds


def most_allowed(manifest: Manifest, values: NDArray[np.float32], host: Host) -> float:
    """Return the widest bound that this version allows a bundle whose golden outputs are these, in its precision's measure.

    Raises:
        UsageError: a target or a precision that this version does not have.
    """
    k = bound_of(manifest, host).k
    if measure_of(manifest.precision) == "rms":
        return GOLDEN.k * NOISE_CEILING[manifest.precision] * root_mean_square(values.astype(np.float64))
    return k * NOISE_CEILING[manifest.precision] * float(np.abs(values).max())


def bound_of(manifest: Manifest, host: Host) -> NoiseMultiple:
    """Return the multiple of noise that this version allows a bundle's target in its precision.

    Raises:
        UsageError: a target or a precision that this version does not have.
    """
    unknown = f"this edgevit-deploy knows no target {manifest.target!r} in {manifest.precision}; upgrade it"
    try:
        exporter = host.find_exporter(manifest.target)
    except UsageError as error:
        raise UsageError(unknown) from error
    if not exporter.has(manifest.precision):
        raise UsageError(unknown)
    return exporter.bound(manifest.precision)
