"""`convert.py bench BUNDLE...`: what bundles cost on this host, against each other."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from edgevit_deploy.commands.bench_output import Machine, Skipped, document, print_benchmark
from edgevit_deploy.commands.hosts import find_session, why_not_run
from edgevit_deploy.console import print_json, progress, say
from edgevit_deploy.errors import BundleError, MissingError, UsageError

if TYPE_CHECKING:
    from edgevit_deploy.benchmark import Candidate
    from edgevit_deploy.manifest import Manifest
    from edgevit_deploy.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A bundle whose hashes hold and which computes the right numbers here."""

    bundle: Path
    manifest: "Manifest"
    session_type: "type[Session]"


def bench_bundles(
    *bundles: Annotated[Path, Parameter(required=True)],
    threads: int = 1,
    runs: int = 50,
    regime: Literal["steady", "mixed"] = "steady",
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure latency, load time, memory and size of bundles, interleaved, with the first against itself as a control.

    Args:
        bundles: Folders written by a conversion. Each is re-hashed and must reproduce its golden outputs here first.
        threads: Threads of each runtime.
        runs: Timed runs of each bundle, rounded up to whole blocks.
        regime: steady times 4 runs in a row after 2 warm ones; mixed changes the bundle after every run.
        seed: Seed of the order of the blocks.
        json: Print one JSON document on stdout, with every raw time, and nothing else there.
    """
    from edgevit_deploy.benchmark import benchmark
    from edgevit_deploy.benchmark_result import REGIMES

    _check_settings(bundles, threads, seed)
    REGIMES[regime].blocks(runs)
    result = None
    with progress("bench") as step:
        subjects = []
        for bundle in bundles:
            step(f"verifying {bundle}")
            subjects.append(_subject(bundle))
        ready = [subject for subject in subjects if isinstance(subject, Ready)]
        skipped = [subject for subject in subjects if isinstance(subject, Skipped)]
        batch = _common_batch([subject.manifest for subject in ready])
        machine = read_machine({name for subject in ready for name in subject.manifest.tools})
        if ready:
            candidates = [_candidate(subject, batch) for subject in ready]
            result = benchmark(candidates, threads=threads, runs=runs, regime=REGIMES[regime], seed=seed, step=step)
    if result is not None:
        print_benchmark(result, machine)
    for subject in skipped:
        say(f"{subject.bundle}: no runtime here. {subject.reason}")
    if json:
        print_json(document(result, machine, skipped))
    return MissingError.exit_code if result is None else 0


def read_machine(packages: set[str]) -> Machine:
    """Read what this host tells about itself.

    Args:
        packages: distributions whose installed versions matter.
    """
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        cores_for_us=_cores_for_us(),
        governor=governor.read_text(encoding="utf-8").strip() if governor.is_file() else None,
        load_average_1min=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        python=platform.python_version(),
        libraries={name: version for name in sorted(packages) if (version := _installed_version(name))},
    )


def _check_settings(bundles: Sequence[Path], threads: int, seed: int) -> None:
    check_threads(threads)
    if seed < 0:
        raise UsageError(f"--seed {seed}: a seed is 0 or larger")
    resolved = [bundle.resolve() for bundle in bundles]
    for index, bundle in enumerate(bundles):
        if bundle.resolve() in resolved[:index]:
            raise UsageError(f"{bundle} is given twice; give it once: the first bundle is always timed against itself too")


def check_threads(threads: int) -> None:
    """Refuse more threads than there are cores for them.

    Raises:
        UsageError: with the number of cores.
    """
    cores = _cores_for_us()
    if not 1 <= threads <= cores:
        raise UsageError(f"--threads {threads}: this process may use {cores} cores; use --threads 1 to {cores}")


def _subject(bundle: Path) -> Ready | Skipped:
    """Open one bundle and prove that what would be timed computes the right numbers, on this host."""
    from edgevit_deploy.bundle import open_bundle
    from edgevit_deploy.verify import artifact_of, check_golden

    manifest = open_bundle(bundle)
    if manifest.parity.status == "failed":
        raise BundleError(f"{bundle} failed parity when it was made: the speed of wrong numbers means nothing; convert again")
    session_type = find_session(manifest.target)
    if session_type is None:
        return Skipped(bundle=str(bundle), reason=why_not_run(manifest.target))
    if not session_type.executes_target:
        reason = f"{session_type.name} proves numbers and says nothing about speed; {why_not_run(manifest.target)}"
        return Skipped(bundle=str(bundle), reason=reason)
    golden = check_golden(bundle, manifest, artifact_of(bundle, manifest), find_session)
    if golden.status != "failed" and golden.substitute:
        return Skipped(bundle=str(bundle), reason=f"{golden.substitute}, whose speed is not the file's")
    if golden.status != "passed":
        raise BundleError(
            f"{bundle} does not reproduce its golden outputs on {session_type.name} here: the speed of wrong numbers means "
            f"nothing; see `convert.py verify {bundle}`"
        )
    return Ready(bundle=bundle, manifest=manifest, session_type=session_type)


def _common_batch(manifests: "Sequence[Manifest]") -> int:
    """Return the batch that all files take: the one that is fixed in some of them, else 1."""
    fixed = sorted({axis for manifest in manifests if isinstance(axis := manifest.inputs[0].shape[0], int)})
    if len(fixed) > 1:
        raise UsageError(
            f"the bundles have batches {', '.join(map(str, fixed))}, so their latencies cannot be compared; "
            "bench the bundles of each batch in a run of their own"
        )
    return fixed[0] if fixed else 1


def _candidate(subject: Ready, batch: int) -> "Candidate":
    """Feed a file its own golden inputs, as many as its batch takes."""
    import numpy as np

    from edgevit_deploy.benchmark import Candidate
    from edgevit_deploy.bundle import read_golden

    manifest = subject.manifest
    images, _ = read_golden(subject.bundle, manifest.golden)
    return Candidate(
        label=str(subject.bundle),
        session_type=subject.session_type,
        path=subject.bundle / manifest.path,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        feeds={manifest.inputs[0].name: images[np.arange(batch) % len(images)]},
    )


def _cores_for_us() -> int:
    if hasattr(os, "sched_getaffinity"):  # fewer than cpu_count under taskset or in a container
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
