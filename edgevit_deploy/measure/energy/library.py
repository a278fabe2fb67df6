"""`energy` as a function: from the file of a power meter to what an inference takes."""

from pathlib import Path

from edgevit_deploy.measure.energy.columns import NOTHING_SAID, Columns
from edgevit_deploy.measure.energy.result import DEFAULT_MAX_ERROR, DEFAULT_PAUSE_MS, DEFAULT_RUNS, Reading, read_energy
from edgevit_deploy.measure.energy.sources import Format, read_trace
from edgevit_deploy.outside.files import StrPath
from edgevit_deploy.workbench.results import Progress, silent


def energy(
    trace: StrPath,
    *,
    format: Format = "auto",  # noqa: A002 - the flag's name
    columns: Columns = NOTHING_SAID,
    runs: int = DEFAULT_RUNS,
    start: float | None = None,
    end: float | None = None,
    pause_ms: float = DEFAULT_PAUSE_MS,
    max_error: float = DEFAULT_MAX_ERROR,
    uneven: bool = False,
    per_region: int = 1,
    progress: Progress = silent,
) -> Reading:
    """Find the inferences in the trace of a power meter, and what one of them takes.

    Args:
        trace: the file.
        format: what wrote it; auto finds out.
        columns: what its columns are, where its header does not say it.
        runs: how many inferences were run.
        start: leave out what is before, in seconds of the file's clock.
        end: leave out what is after.
        pause_ms: power that falls for less than this is still the same inference.
        max_error: by how much the mean may be wrong, as a share of it.
        uneven: let inferences differ by any factor.
        per_region: inferences without a pause between them that each region holds.
        progress: shows each step; nothing by default.

    Returns:
        What was found; its `energy` is None, with the reason as `refusal`, where the trace cannot say it.

    Raises:
        UsageError: a file that cannot be read, or refused arguments.
    """
    with progress("energy") as step:
        step(f"reading {trace}")
        read = read_trace(Path(trace), format, columns).between(start, end)
        step(f"looking for inferences in {len(read.power_w)} samples")
        return read_energy(read, runs=runs, pause_ms=pause_ms, max_error=max_error, uneven=uneven, per_region=per_region)
