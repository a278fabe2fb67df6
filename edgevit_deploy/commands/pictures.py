"""Photographs through bundles: what each sees, whether all agree, and which files were passed over."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgevit_deploy.commands.console import print_table, progress, say
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.outside.text import figure
from edgevit_deploy.spec import task_of

if TYPE_CHECKING:
    from edgevit_deploy.data.photographs import PictureFolder
    from edgevit_deploy.data.pictures import PassedOver
    from edgevit_deploy.spec import Preprocess
    from edgevit_deploy.verification.pictures import Classified

Top5 = dict[str, list[tuple[str, float]]]

IN_FULL = 3
"""Up to so many pictures each have a table of their five classes; of more there is a summary. `--json` has all."""

WORST = 10
"""Rows of that summary's table."""

SAME = "the same top-5"
"""How rankings agree that do."""

NOT_FINITE = "not finite"
"""What stands in place of the first class where an output is NaN or infinite, and the ranking is empty."""


def print_top5(bundles: Sequence[Path], photographs: "PictureFolder") -> "dict[str, Classified]":
    """Run pictures through bundles that were just written and print what each sees, where it sees classes."""
    from edgevit_deploy.bundle.folder import open_bundle, read_labels
    from edgevit_deploy.verification.bundle import artifact_of
    from edgevit_deploy.verification.golden import runnable
    from edgevit_deploy.verification.pictures import classify_pictures

    results: dict[str, Classified] = {}
    for bundle in bundles:
        manifest = open_bundle(bundle)
        chosen = runnable(artifact_of(bundle, manifest, THIS_HOST), THIS_HOST)
        if chosen is None or task_of(manifest.conversion.returns) != "classify":
            continue
        with progress(str(bundle)) as step:
            labels = read_labels(bundle, manifest)
            results[str(bundle)] = classify_pictures(photographs, manifest, chosen, labels, THIS_HOST, step)
    show_top5(
        {bundle: result.top5 for bundle, result in results.items()},
        photographs,
        {bundle: result.right for bundle, result in results.items()},
    )
    return results


def show_top5(results: Mapping[str, Top5], photographs: "PictureFolder", right: Mapping[str, int | None]) -> None:
    """Print what bundles see: a few pictures in full, of many how many agree and are right, and the worst.

    Args:
        results: bundle -> picture -> its five classes.
        photographs: the folder, for the labels of its pictures.
        right: bundle -> how many of them it sees as labelled; None where that is not known.
    """
    pictures = [picture for picture in next(iter(results.values()), {}) if all(picture in top5 for top5 in results.values())]
    if not pictures:
        return
    for bundle, top5 in results.items():
        if broken := sum(not top5[picture] for picture in pictures):
            say(f"{bundle}: outputs of {broken} of {len(pictures)} pictures are not finite, so they have no class")
    for bundle, count in right.items():
        if count is not None:
            say(f"{bundle}: {count} of {len(pictures)} pictures have the class of their folder first")
    if photographs.labels and None in right.values():
        say("the classes of the folder are not those of the bundle by name, so it is not counted how many are right")
    if len(pictures) > IN_FULL:
        _summarise(results, pictures, dict(zip(photographs.names, photographs.labels, strict=False)))
        return
    for picture in pictures:
        places = max(1, *(len(top5[picture]) for top5 in results.values()))
        rows = []
        for bundle, top5 in results.items():
            cells = [f"{label}\n{value:.4f}" for label, value in top5[picture]] or [NOT_FINITE]
            rows.append([bundle, *cells, *[""] * (places - len(cells))])
        print_table(picture, ("bundle", "1", "2", "3", "4", "5")[: places + 1], rows)
        if len(results) > 1:
            say(f"{picture}: {agreement(_rankings(results, picture))} in {len(results)} bundles")


def _summarise(results: Mapping[str, Top5], pictures: Sequence[str], labels: Mapping[str, str]) -> None:
    """Print one line about all pictures, and a table of those that a person should look at."""
    differing = {picture for picture in pictures if not _agree(_first_classes(results, picture))}
    if len(results) > 1:
        agreed = len(pictures) - len(differing)
        say(f"{agreed} of {len(pictures)} pictures have the same first class in all {len(results)} bundles")
    wrong = {picture for picture in pictures if picture in labels and labels[picture] not in _first_classes(results, picture)}
    ranked = sorted(pictures, key=lambda picture: (picture not in differing, picture not in wrong, _margin(results, picture)))
    rows = [
        [picture, labels.get(picture, ""), _who_sees_what(results, picture), figure(_margin(results, picture))]
        for picture in ranked[:WORST]
    ]
    columns = ("picture", "its folder says", "first class", "margin")
    optional = () if labels else ("its folder says",)
    title = f"the {len(rows)} of {len(pictures)} pictures to look at: bundles differ, the label differs, or the smallest margin"
    kept = [index for index, column in enumerate(columns) if column not in optional]
    print_table(title, [columns[index] for index in kept], [[row[index] for index in kept] for row in rows])
    if len(pictures) > len(rows):
        say(f"{len(pictures) - len(rows)} more pictures are in --json")


def _first_classes(results: Mapping[str, Top5], picture: str) -> dict[str, list[str]]:
    """Return which first class which bundles see."""
    seen: dict[str, list[str]] = {}
    for bundle, top5 in results.items():
        seen.setdefault(top5[picture][0][0] if top5[picture] else NOT_FINITE, []).append(bundle)
    return seen


def _agree(seen: Mapping[str, Sequence[str]]) -> bool:
    return len(seen) == 1 and NOT_FINITE not in seen


def _who_sees_what(results: Mapping[str, Top5], picture: str) -> str:
    seen = _first_classes(results, picture)
    if len(seen) == 1:
        return next(iter(seen))
    return ", ".join(f"{label} ({', '.join(Path(bundle).name for bundle in bundles)})" for label, bundles in seen.items())


def _margin(results: Mapping[str, Top5], picture: str) -> float:
    """Return by how much the first class is ahead of the second, in the bundle where that is least; 0 where there is none."""
    return min(top5[picture][0][1] - top5[picture][:2][-1][1] if top5[picture] else 0.0 for top5 in results.values())


def say_passed_over(passed_over: "Sequence[PassedOver]") -> None:
    """Say in one line which files of the folder are not run, and why; nothing where all are."""
    from edgevit_deploy.data.pictures import named

    if passed_over:
        say(f"{len(passed_over)} file{'s' if len(passed_over) > 1 else ''} passed over: {named(passed_over)}")


def photograph_notes(photographs: "PictureFolder", preprocess: "Preprocess | None") -> tuple[str, ...]:
    """Say that not all photographs join the probes, where there are so many, and that the crop cuts small ones."""
    from edgevit_deploy.data.photographs import crop_note
    from edgevit_deploy.workbench import MAX_PHOTOGRAPHS

    count = len(photographs.names)
    many = f"{MAX_PHOTOGRAPHS} of {count} photographs join the parity probes; all are run to top-5"
    cut = crop_note(photographs, preprocess) if preprocess else ""
    return tuple(note for note in (many if count > MAX_PHOTOGRAPHS else "", cut) if note)


def _rankings(results: Mapping[str, Top5], picture: str) -> list[list[tuple[str, float]]]:
    return [top5[picture] for top5 in results.values()]


def agreement(rankings: Sequence[list[tuple[str, float]]]) -> str:
    """Say how far rankings agree; classes in another order are named with how far apart the first bundle sees them."""
    if not all(rankings):
        return f"no class for {sum(not ranking for ranking in rankings)}, whose outputs are {NOT_FINITE},"
    orders = list(dict.fromkeys(tuple(label for label, _ in ranking) for ranking in rankings))
    if len(orders) == 1:
        return SAME
    if len({frozenset(order) for order in orders}) > 1:
        return f"{len(orders)} different top-5"
    moved = [(label, value) for place, (label, value) in enumerate(rankings[0]) if len({order[place] for order in orders}) > 1]
    values = [value for _, value in moved]
    names = ", ".join(label for label, _ in moved)
    return f"the same five classes, but {names}, {max(values) - min(values):.2g} apart, not in the same order"
