"""What a file says of itself against the manifest beside it, for each format that has a place for it."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edgevit_deploy.bundle.manifest import Manifest, read_manifest
from edgevit_deploy.errors import BundleError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.spec.description import Described, Description, Normalisation, normalisation_of
from edgevit_deploy.verification.described import check_description

LABELS = ("ant", "bee", "cat")


@dataclass(frozen=True, slots=True)
class Said:
    """An exporter, and the host that finds it: every file says the same."""

    description_: Description | None

    def find_exporter(self, _: str) -> "Said":
        return self

    def description(self, _: Artifact) -> Description | None:
        return self.description_


@pytest.fixture
def manifest(small_bundle: Path) -> Manifest:
    return read_manifest(small_bundle)


def check(manifest: Manifest, said: Description | None) -> None:
    artifact = Artifact(target="fake", path=Path("model"), inputs=manifest.inputs, outputs=manifest.outputs, tools={})
    check_description(Path("bundle"), manifest, LABELS, artifact, Said(said))


def test_what_agrees_or_says_nothing_passes(manifest: Manifest) -> None:
    right = normalisation_of(manifest.preprocess, manifest.conversion.takes)
    for said in (None, Description(), Description(labels=LABELS), Description(labels=LABELS, normalisation=right)):
        check(manifest, said)


SAYS = {True: "did", False: "did not"}


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("normalisation", [True, False])
def test_what_was_recorded_must_still_be_said_and_no_more(manifest: Manifest, labels: bool, normalisation: bool) -> None:
    right = normalisation_of(manifest.preprocess, manifest.conversion.takes)
    said = Description(labels=LABELS if labels else (), normalisation=right if normalisation else None)
    check(replace(manifest, described=None), said)  # as earlier versions wrote it
    check(replace(manifest, described=Described(labels=labels, normalisation=normalisation)), said)
    check(replace(manifest, described=Described(labels=labels, normalisation=normalisation)), None)  # it cannot be read here
    for what, other in (
        ("its class names", Described(labels=not labels, normalisation=normalisation)),
        ("how pixels are normalised", Described(labels=labels, normalisation=not normalisation)),
    ):
        recorded = other.labels if what == "its class names" else other.normalisation
        message = rf"within itself {what}, the manifest records that it {SAYS[recorded]} when it was written; convert again$"
        with pytest.raises(BundleError, match=message):
            check(replace(manifest, described=other), said)


@pytest.mark.parametrize(
    ("labels", "line"),
    [(("bee", "ant", "cat"), 1), (("ant", "bee"), 3), ((*LABELS, "dog"), 4), (("ant", "bee", "Cat"), 3)],
)
def test_other_labels_are_refused_by_the_line(manifest: Manifest, labels: tuple[str, ...], line: int) -> None:
    with pytest.raises(BundleError, match=rf"its own class names differ from labels\.txt in line {line}; convert again$"):
        check(manifest, Description(labels=labels))


def test_another_normalisation_is_refused(manifest: Manifest) -> None:
    right = normalisation_of(manifest.preprocess, manifest.conversion.takes)
    nearly = replace(right, mean=tuple(value * (1 + 1e-7) for value in right.mean))
    check(manifest, Description(normalisation=nearly))  # float32 rounds as much
    for wrong in (
        Normalisation(mean=(0, 0, 0), std=(1, 1, 1)),
        replace(right, mean=right.mean[::-1]),
        replace(right, std=tuple(value / 255 for value in right.std)),
        replace(right, mean=(float("nan"), *right.mean[1:])),
    ):
        with pytest.raises(BundleError, match=r"says within itself that pixels are normalised by mean \(.*; convert again$"):
            check(manifest, Description(normalisation=wrong))
