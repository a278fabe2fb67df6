"""The rows of an evaluation, counted from finished shards, one of them in memory at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from edgevit_deploy.data.image_folder import ImageFolder
from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.accuracy.contestants import Contestant, Field
from edgevit_deploy.measure.accuracy.gates import Limits
from edgevit_deploy.measure.accuracy.identity import Tools
from edgevit_deploy.measure.accuracy.result import Evaluated, Outputs, Pairing
from edgevit_deploy.measure.accuracy.shards import Shard, ShardLogits, Subject
from edgevit_deploy.measure.accuracy.store import ShardStore
from edgevit_deploy.measure.accuracy.tally import AccuracyTally, PairingTally


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Every shard of every subject, in order; `not_run` has what is said of those that did not run, by their keys."""

    shards: Mapping[Subject, tuple[Shard, ...]]
    store: ShardStore
    not_run: dict[str, ShardLogits] = field(default_factory=dict)

    def results(self, subject: Subject) -> Iterator[ShardLogits]:
        """Yield the finished shards of a subject, each read when it is asked for.

        Raises:
            UsageError: one is gone since it was finished.
        """
        for shard in self.shards[subject]:
            result = self.store.find(shard)
            if result is None:
                raise UsageError(f"a finished shard in {self.store.folder} is gone; run the same command again")
            yield result

    def obstacle(self, subject: Subject) -> ShardLogits | None:
        """Return what is said of a shard of a subject that did not run; None where all did."""
        return next((self.not_run[shard.key] for shard in self.shards[subject] if shard.key in self.not_run), None)


def rows_of(field: Field, folder: ImageFolder, work: Work, limits: Limits) -> Iterator[Evaluated]:
    """Yield the row of each network, then of each bundle."""
    labels = field.network_labels()
    for network, label in labels.items():
        yield _row(label, network, "logits", folder, work)
    for contestant in field.contestants:
        yield _bundle_row(contestant, labels, folder, work, limits)


def _bundle_row(
    contestant: Contestant, labels: Mapping[Subject, str], folder: ImageFolder, work: Work, limits: Limits
) -> Evaluated:
    network = contestant.network
    pairing = None
    if network is not None and not work.obstacle(network) and not work.obstacle(contestant.subject):
        pairing = _pairing(contestant, network, folder, work)
    return _row(
        contestant.label,
        contestant.subject,
        contestant.outputs,
        folder,
        work,
        network="" if network is None else labels[network],
        pairing=pairing,
        limits=limits,
        notes=contestant.notes,
    )


def _row(
    label: str,
    subject: Subject,
    outputs: Outputs,
    folder: ImageFolder,
    work: Work,
    *,
    network: str = "",
    pairing: Pairing | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    notes: tuple[str, ...] = (),
) -> Evaluated:
    obstacle = work.obstacle(subject)
    tally, ways = AccuracyTally(classes=len(folder.classes), outputs=outputs), list[tuple[str, Tools]]()
    for result in work.results(subject) if obstacle is None else ():
        tally.add(result, folder.targets)
        ways.append((result.runtime, result.tools))
    if obstacle is None and not tally.pictures:
        raise UsageError(f"none of the pictures of {folder.root} can be decoded; look at one of them")
    return Evaluated(
        label=label,
        kind=subject.kind,
        status="ran" if obstacle is None else obstacle.status,
        reason="" if obstacle is None else obstacle.reason,
        runtime=" and ".join(dict.fromkeys(runtime for runtime, _ in ways)),
        tools=_tools(ways),
        preprocess=subject.preprocess,
        image_size=subject.image_size,
        identity=subject.identity,
        accuracy=tally.accuracy() if obstacle is None else None,
        network=network,
        pairing=pairing,
        gates=tuple(limits.gates(pairing)) if pairing is not None else (),
        unjudged=limits.flags() if pairing is None else (),
        pictures_per_s=tally.pictures / tally.seconds if obstacle is None else None,
        notes=(*notes, *_different_ways(ways)),
    )


def _tools(ways: Sequence[tuple[str, Tools]]) -> Tools:
    """Return what ran the shards of a subject: each name once, with all of its versions."""
    found: dict[str, dict[str, None]] = {}
    for name, version in chain.from_iterable(tools for _, tools in ways):
        found.setdefault(name, {})[version] = None
    return tuple((name, " and ".join(found[name])) for name in sorted(found))


def _different_ways(ways: Sequence[tuple[str, Tools]]) -> Iterator[str]:
    """Say that shards of one subject ran on more than one runtime or version, as kept ones and those of workers may."""
    everywhere = set.intersection(*(set(tools) for _, tools in ways)) if ways else set()
    runtimes = tuple(dict.fromkeys(runtime for runtime, _ in ways))
    differing = [f"{name} {version}" for name, version in _tools(ways) if (name, version) not in everywhere]
    if len(runtimes) > 1 or differing:
        yield f"not all of its pictures were run alike: {', '.join([*runtimes, *differing])}"


def _pairing(contestant: Contestant, network: Subject, folder: ImageFolder, work: Work) -> Pairing:
    tally = PairingTally(folder=folder, outputs=contestant.outputs, bound=contestant.bound)
    for one, other in zip(work.results(network), work.results(contestant.subject), strict=True):
        tally.add(one, other)
    return tally.pairing()
