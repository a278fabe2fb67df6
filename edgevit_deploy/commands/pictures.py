"""Photographs through bundles: the top-5 of each picture, and whether all bundles agree."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgevit_deploy.commands.console import print_table, progress, say
from edgevit_deploy.host import THIS_HOST

Top5 = dict[str, list[tuple[str, float]]]


def print_top5(bundles: Sequence[Path], images: Path) -> dict[str, Top5]:
    """Run a folder's pictures through bundles that were just written and print what each sees."""
    from edgevit_deploy.bundle.folder import open_bundle, read_labels
    from edgevit_deploy.data.preprocess import find_images
    from edgevit_deploy.verification.bundle import artifact_of, classify_pictures, runnable

    results: dict[str, Top5] = {}
    pictures = find_images(images)
    for bundle in bundles:
        manifest = open_bundle(bundle)
        artifact = artifact_of(bundle, manifest)
        if runnable(artifact, THIS_HOST) is None:
            continue
        with progress(str(bundle)) as step:
            step("running the pictures")
            labels = read_labels(bundle, manifest)
            results[str(bundle)] = classify_pictures(pictures, manifest, artifact, labels, THIS_HOST)
    show_top5(results)
    return results


def show_top5(results: Mapping[str, Top5]) -> None:
    """Print one table a picture, a line a bundle, and say in words whether all have the same five, in the same order."""
    for picture in next(iter(results.values()), {}):
        rows = []
        for bundle, top5 in results.items():
            rows.append([bundle, *(f"{label}\n{value:.4f}" for label, value in top5[picture])])
        print_table(picture, ("bundle", "1", "2", "3", "4", "5")[: len(rows[0])], rows)
        if len(results) > 1:
            say(f"{picture}: {agreement([top5[picture] for top5 in results.values()])} in {len(results)} bundles")


def agreement(rankings: Sequence[list[tuple[str, float]]]) -> str:
    """Say how far rankings agree; classes in another order are named with how far apart the first bundle sees them."""
    orders = list(dict.fromkeys(tuple(label for label, _ in ranking) for ranking in rankings))
    if len(orders) == 1:
        return "the same top-5"
    if len({frozenset(order) for order in orders}) > 1:
        return f"{len(orders)} different top-5"
    moved = [(label, value) for place, (label, value) in enumerate(rankings[0]) if len({order[place] for order in orders}) > 1]
    values = [value for _, value in moved]
    names = ", ".join(label for label, _ in moved)
    return f"the same five classes, but {names}, {max(values) - min(values):.2g} apart, not in the same order"
