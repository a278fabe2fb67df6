"""The bundles of a benchmark: opened, proven to compute the right numbers on this host, and made candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevit_deploy.bundle.folder import open_bundle, read_golden
from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.errors import BundleError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.benchmark import Candidate
from edgevit_deploy.session import Session
from edgevit_deploy.spec import PROGRAM
from edgevit_deploy.verification.bundle import artifact_of
from edgevit_deploy.verification.golden import check_golden


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A bundle whose hashes hold and which computes the right numbers here; reports call it by its label."""

    bundle: Path
    manifest: Manifest
    artifact: Artifact
    session_type: type[Session]
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A bundle that cannot be timed on this host, and why."""

    bundle: str
    reason: str


def read_subject(bundle: Path, host: ThisHost, label: str | None = None) -> Ready | Skipped:
    """Open one bundle and prove that what would be timed computes the right numbers, on this host.

    Args:
        bundle: the folder.
        host: finds its runtime, or says why there is none.
        label: what reports call it; its folder when None.

    Raises:
        BundleError: a damaged bundle, or one that does not compute the right numbers or decide as its network.
    """
    manifest, label = open_bundle(bundle), str(bundle) if label is None else label
    if manifest.failure:
        wrong = "numbers" if manifest.parity.verdict == "failed" else "decisions"
        raise BundleError(f"{bundle} {manifest.failure}: the speed of wrong {wrong} means nothing; convert again")
    session_type = host.find_session(manifest.target)
    if session_type is None:
        return Skipped(bundle=label, reason=host.why_not_run(manifest.target))
    if not session_type.executes_target:
        reason = f"{session_type.name} proves numbers and says nothing about speed; {host.why_not_run(manifest.target)}"
        return Skipped(bundle=label, reason=reason)
    artifact = artifact_of(bundle, manifest, host)
    golden = check_golden(bundle, manifest, artifact, host)
    if golden.status != "failed" and golden.substitute:
        return Skipped(bundle=label, reason=f"{golden.substitute}, whose speed is not the file's")
    if golden.status != "passed":
        raise BundleError(
            f"{bundle} does not reproduce its golden outputs on {session_type.name} here: the speed of wrong numbers means "
            f"nothing; see `{PROGRAM} verify {bundle}`"
        )
    return Ready(bundle=bundle, manifest=manifest, artifact=artifact, session_type=session_type, label=label)


def common_batch(subjects: Sequence[Ready]) -> int:
    """Return the batch that all files take: the one that is fixed in some of them, else 1.

    Raises:
        UsageError: files of several batches.
    """
    fixed = sorted({axis for subject in subjects if isinstance(axis := subject.manifest.inputs[0].shape[0], int)})
    if len(fixed) > 1:
        raise UsageError(
            f"the bundles have batches {', '.join(map(str, fixed))}, so their latencies cannot be compared; "
            "bench the bundles of each batch in a run of their own"
        )
    return fixed[0] if fixed else 1


def candidate_of(subject: Ready, batch: int) -> Candidate:
    """Feed a file its own golden inputs, as many as its batch takes."""
    images, _ = read_golden(subject.bundle, subject.manifest)
    return Candidate.of(subject.label, subject.session_type, subject.artifact, images, batch)
