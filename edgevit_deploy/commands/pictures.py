"""Photographs through bundles: the top-5 of each picture, and whether all bundles agree."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgevit_deploy.commands.hosts import find_session
from edgevit_deploy.console import print_table, progress, say

Top5 = dict[str, list[tuple[str, float]]]


def print_top5(bundles: Sequence[Path], pictures: Sequence[Path]) -> dict[str, Top5]:
    """Run pictures through bundles that were just written and print what each sees."""
    from edgevit_deploy.bundle import open_bundle, read_labels
    from edgevit_deploy.verify import artifact_of, classify_pictures, runnable

    results: dict[str, Top5] = {}
    for bundle in bundles:
        manifest = open_bundle(bundle)
        artifact = artifact_of(bundle, manifest)
        if runnable(artifact, find_session) is None:
            continue
        with progress(str(bundle)) as step:
            step("running the pictures")
            labels = read_labels(bundle, manifest)
            results[str(bundle)] = classify_pictures(pictures, manifest, artifact, labels, find_session)
    show_top5(results)
    return results


def show_top5(results: Mapping[str, Top5]) -> None:
    """Print one table a picture, a line a bundle, and say in words whether all have the same five, in the same order."""
    for picture in next(iter(results.values()), {}):
        rows = []
        for bundle, top5 in results.items():
            rows.append([bundle, *(f"{label}\n{value:.4f}" for label, value in top5[picture])])
        print_table(picture, ("bundle", "1", "2", "3", "4", "5")[: len(rows[0])], rows)
        orders = {tuple(label for label, _ in top5[picture]) for top5 in results.values()}
        if len(results) > 1:
            agreement = "the same top-5" if len(orders) == 1 else f"{len(orders)} different top-5"
            say(f"{picture}: {agreement} in {len(results)} bundles")
