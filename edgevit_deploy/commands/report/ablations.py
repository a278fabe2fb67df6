"""The ablations that were timed beside a bundle, as the page shows them."""

from collections.abc import Collection
from dataclasses import dataclass

from edgevit_deploy.commands.bench.ablations import ablation_columns, ablation_rows, ablation_words
from edgevit_deploy.measure.saved import SavedBench


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationView:
    """One table: a row for each network, fastest first."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    sentence: str


def ablation_views(identities: Collection[str], saved: SavedBench | None) -> tuple[AblationView, ...]:
    """Return a table for each bundle of the page beside which ablations were timed.

    Args:
        identities: of the bundles of the page.
        saved: what was timed, if something was.
    """
    if saved is None:
        return ()
    return tuple(
        AblationView(
            title=contest.base,
            columns=tuple(ablation_columns(contest.networks, contest.base)),
            rows=tuple(tuple(map(str, row)) for row in ablation_rows(contest.networks, contest.base, saved.benchmark)),
            sentence=ablation_words(),
        )
        for contest in saved.against
        if contest.networks and saved.bundles.get(contest.base) in identities
    )
