"""Photographs through bundles: the top-5 of each picture, and whether all bundles agree; and which files were passed over."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgevit_deploy.commands.console import print_table, progress, say
from edgevit_deploy.host import THIS_HOST

if TYPE_CHECKING:
    from edgevit_deploy.data.pictures import PassedOver

Top5 = dict[str, list[tuple[str, float]]]

SHOWN = 20
"""How many pictures have a table; `--json` has all."""

SAME = "the same top-5"
"""How rankings agree that do."""


def print_top5(bundles: Sequence[Path], pictures: Sequence[Path]) -> dict[str, Top5]:
    """Run pictures through bundles that were just written and print what each sees."""
    from edgevit_deploy.bundle.folder import open_bundle, read_labels
    from edgevit_deploy.verification.bundle import artifact_of, runnable
    from edgevit_deploy.verification.pictures import classify_pictures

    results: dict[str, Top5] = {}
    for bundle in bundles:
        manifest = open_bundle(bundle)
        chosen = runnable(artifact_of(bundle, manifest), THIS_HOST)
        if chosen is None:
            continue
        with progress(str(bundle)) as step:
            labels = read_labels(bundle, manifest)
            results[str(bundle)] = classify_pictures(pictures, manifest, chosen, labels, THIS_HOST, step)
    show_top5(results)
    return results


def show_top5(results: Mapping[str, Top5]) -> None:
    """Print one table a picture, a line a bundle, and say in words whether all have the same five, in the same order.

    After the first pictures it is one line for all the others.
    """
    pictures = list(next(iter(results.values()), {}))
    for picture in pictures[:SHOWN]:
        rows = []
        for bundle, top5 in results.items():
            rows.append([bundle, *(f"{label}\n{value:.4f}" for label, value in top5[picture])])
        print_table(picture, ("bundle", "1", "2", "3", "4", "5")[: len(rows[0])], rows)
        if len(results) > 1:
            say(f"{picture}: {agreement(_rankings(results, picture))} in {len(results)} bundles")
    others = pictures[SHOWN:]
    if others:
        same = sum(agreement(_rankings(results, picture)) == SAME for picture in others)
        agreed = f"; {same} of them have {SAME} in {len(results)} bundles" if len(results) > 1 else ""
        say(f"{len(others)} more pictures are in --json{agreed}")


def say_passed_over(passed_over: "Sequence[PassedOver]") -> None:
    """Say in one line which files of the folder are no pictures, and why; nothing where all are."""
    from edgevit_deploy.data.pictures import named

    if passed_over:
        say(f"{len(passed_over)} file{'s' if len(passed_over) > 1 else ''} passed over: {named(passed_over)}")


def photograph_notes(pictures: Sequence[Path]) -> tuple[str, ...]:
    """Say that not all photographs join the probes, where there are so many."""
    from edgevit_deploy.workbench import MAX_PHOTOGRAPHS

    if len(pictures) <= MAX_PHOTOGRAPHS:
        return ()
    return (f"{MAX_PHOTOGRAPHS} of {len(pictures)} photographs join the parity probes; all are run to top-5",)


def _rankings(results: Mapping[str, Top5], picture: str) -> list[list[tuple[str, float]]]:
    return [top5[picture] for top5 in results.values()]


def agreement(rankings: Sequence[list[tuple[str, float]]]) -> str:
    """Say how far rankings agree; classes in another order are named with how far apart the first bundle sees them."""
    orders = list(dict.fromkeys(tuple(label for label, _ in ranking) for ranking in rankings))
    if len(orders) == 1:
        return SAME
    if len({frozenset(order) for order in orders}) > 1:
        return f"{len(orders)} different top-5"
    moved = [(label, value) for place, (label, value) in enumerate(rankings[0]) if len({order[place] for order in orders}) > 1]
    values = [value for _, value in moved]
    names = ", ".join(label for label, _ in moved)
    return f"the same five classes, but {names}, {max(values) - min(values):.2g} apart, not in the same order"
