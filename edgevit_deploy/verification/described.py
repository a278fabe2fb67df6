"""What a model file says of itself, to tools that read no manifest, against the manifest beside it."""

from itertools import zip_longest
from pathlib import Path

import numpy as np

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.errors import BundleError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.spec.description import Described, Normalisation, normalisation_of
from edgevit_deploy.workbench import Host

ROUNDING = 1e-6
"""Of a file's own numbers, which are float32, relative to the manifest's."""


def check_description(bundle: Path, manifest: Manifest, labels: tuple[str, ...], artifact: Artifact, host: Host) -> None:
    """Refuse a file that names other classes, or another normalisation, than the bundle; or no longer says what it said.

    In bundles of earlier versions it is not recorded what a file says: what it does not say is then not missed.

    Args:
        bundle: the folder.
        manifest: of it.
        labels: of its file of labels.
        artifact: its file.
        host: finds the exporter, which reads its own files.

    Raises:
        BundleError: with what differs.
        RunError: what the file says of itself is damaged.
    """
    place = bundle / manifest.path
    said = host.find_exporter(manifest.target).description(artifact)
    if said is None:
        return
    if manifest.described is not None:
        _check_recorded(place, Described.by(said), manifest.described)
    if said.labels and said.labels != labels:
        pairs = enumerate(zip_longest(said.labels, labels), start=1)
        number = next(number for number, (own, listed) in pairs if own != listed)
        raise BundleError(f"{place}: its own class names differ from {manifest.labels.path} in line {number}; convert again")
    expected = normalisation_of(manifest.preprocess, manifest.conversion.takes)
    if said.normalisation is not None and not _same(said.normalisation, expected):
        raise BundleError(
            f"{place}: says within itself that pixels are normalised by mean {said.normalisation.mean} and std "
            f"{said.normalisation.std}, the manifest says {expected.mean} and {expected.std}; convert again"
        )


def _check_recorded(place: Path, found: Described, recorded: Described) -> None:
    """Refuse a file from which something was taken out, or into which something was put, since it was written."""
    for what, says, said in (
        ("its class names", found.labels, recorded.labels),
        ("how pixels are normalised", found.normalisation, recorded.normalisation),
    ):
        if says != said:
            raise BundleError(
                f"{place}: {'says' if says else 'does not say'} within itself {what}, the manifest records that it "
                f"{'did' if said else 'did not'} when it was written; convert again"
            )


def _same(found: Normalisation, expected: Normalisation) -> bool:
    pairs = ((found.mean, expected.mean), (found.std, expected.std))
    return all(np.allclose(a, b, rtol=ROUNDING, atol=0) for a, b in pairs)
