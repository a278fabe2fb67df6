"""Makes the baselines of `bench --against`: naive exports, peers, files in float32, ablations."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import ExportPlan, shown
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.ablations import ablations, facts_beside
from edgevit_deploy.measure.accuracy.identity import question_of
from edgevit_deploy.measure.baselines import Baseline, Rejected, in_float32, naive_exports, peers
from edgevit_deploy.measure.contests import Against, Contest, maps_at
from edgevit_deploy.measure.subjects import Ready
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.model.peers import PEERS
from edgevit_deploy.verification.bundle import check_same_weights
from edgevit_deploy.verification.replan import plan_of, plan_of_float32
from edgevit_deploy.workbench import Step, Workbench


def make_contests(
    subjects: Sequence[Ready],
    against: Against,
    weights: Path | None,
    peer: str | None,
    batch: int,
    host: ThisHost,
    scratch: Path,
    step: Step,
) -> list[Contest]:
    """Convert and judge every baseline of the bundles.

    Args:
        subjects: the bundles.
        against: naive exports of each bundle's own weights; its file in float32, once for each target and network; peers, once
            for each target, precision and way to round; or the ablations of each bundle's network.
        weights: the checkpoint that the bundles were made from; None where they have random weights.
        peer: the only one of the peers; None for all.
        batch: images a run.
        host: finds exporters and runtimes.
        scratch: space for the baselines' files; needed as long as they run.
        step: told what is being done.

    Raises:
        UsageError: the weights are not the bundle's.
        MissingError: the target's converter, or timm, is not installed.
    """
    groups: dict[object, list[Ready]] = {}
    for subject in subjects:
        groups.setdefault(_group(subject, against), []).append(subject)
    contests = []
    for number, members in enumerate(groups.values()):
        suffix = f" ({_name(members[0], subjects, against)})" if len(groups) > 1 else ""
        if against == "ablations":
            contests.append(_of_ablations(members[0], batch, host, scratch / str(number), suffix, step))
            continue
        model = _load(members[0], weights, against)
        workbench = Workbench(model, host, scratch / str(number), step)
        plan = _plan(members[0].manifest, against, model, host, batch)
        contests.append(_contest(members, against, workbench, plan, peer, suffix))
    return contests


def _group(subject: Ready, against: Against) -> object:
    """Return what bundles have in common that share their baselines."""
    manifest = subject.manifest
    if against in ("original", "ablations"):
        return subject.label
    if against == "peers":
        return (manifest.target, manifest.precision, _scheme(subject), maps_at(manifest))
    return question_of(manifest)


def _scheme(subject: Ready) -> Scheme | None:
    """Return how a bundle is rounded, and so how its peers are; None in floating point."""
    return subject.manifest.quantisation.scheme if subject.manifest.quantisation else None


def _name(subject: Ready, others: Sequence[Ready], against: Against) -> str:
    """Return what tells the baselines of one bundle's group from those of the others': of peers the scheme, where it does."""
    if against != "peers":
        return subject.label
    kind = subject.manifest.target, subject.manifest.precision
    schemes = [_scheme(other) for other in others if (other.manifest.target, other.manifest.precision) == kind]
    apart = [part.name for part in fields(Scheme) if len({getattr(scheme, part.name, None) for scheme in schemes}) > 1]
    choices = [f"{part} {shown(getattr(_scheme(subject), part))}" for part in apart]
    maps = [f"maps at {size[0]}x{size[1]}"] if (size := maps_at(subject.manifest)) else []
    return ", ".join([" ".join(kind), *choices, *maps])


def _plan(manifest: Manifest, against: Against, model: LoadedModel, host: ThisHost, batch: int) -> ExportPlan[Any]:
    exporter = host.require_exporter(manifest.target)
    return plan_of_float32(manifest, model, exporter) if against == "fp32" else plan_of(manifest, model, exporter, batch)


def _contest(
    subjects: Sequence[Ready], against: Against, workbench: Workbench, plan: ExportPlan[Any], peer: str | None, suffix: str
) -> Contest:
    if against == "peers":
        made = peers(workbench, plan, tuple(PEERS) if peer is None else (peer,))
    else:
        made = naive_exports(workbench, plan) if against == "original" else in_float32(workbench, plan)
    return _made(subjects, against, made, suffix)


def _of_ablations(subject: Ready, batch: int, host: ThisHost, scratch: Path, suffix: str, step: Step) -> Contest:
    made = ablations(subject.manifest, batch, host, scratch, step)
    networks = {entry.label + suffix: facts for entry, facts in made}
    own = {subject.label: facts_beside(subject.manifest)}
    return replace(_made([subject], "ablations", [entry for entry, _ in made], suffix), networks=own | networks)


def _made(subjects: Sequence[Ready], against: Against, made: Sequence[Baseline | Rejected], suffix: str) -> Contest:
    named = [replace(entry, label=entry.label + suffix) for entry in made]
    return Contest(
        against=against,
        subjects=tuple(subjects),
        baselines=tuple(entry for entry in named if isinstance(entry, Baseline)),
        rejected=tuple(entry for entry in named if isinstance(entry, Rejected)),
    )


def _load(subject: Ready, weights: Path | None, against: Against) -> LoadedModel:
    """Load what a bundle was made from; peers need only its size and preprocessing, which random weights have too."""
    record, preprocess = subject.manifest.model, subject.manifest.preprocess
    if against == "peers":
        return load_model(ModelOrigin.of(record, preprocess, seed=record.random_seed))
    if weights is None and record.random_seed is None:
        raise UsageError(f"{subject.bundle} was made from a checkpoint, and --against {against} needs it too: add --weights FILE")
    model = load_model(ModelOrigin.of(record, preprocess, weights=weights, seed=None if weights else record.random_seed))
    check_same_weights(subject.manifest, model)
    return model
