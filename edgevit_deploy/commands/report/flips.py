"""The pictures that a rounded file decides unlike its network, read again from the folder that it was judged on."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.calibration.source import sha256_of
from edgevit_deploy.data.photographs import PictureFolder
from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.accuracy.record import thumbnail
from edgevit_deploy.parity.decisions import SHOWN_FLIPS, Flipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of one flipped picture: a small JPEG that was made here, or else why there is none."""

    jpeg: bytes = b""
    why: str = ""


def flips_of(manifest: Manifest) -> tuple[Flipped, ...]:
    """Return the flips that a page shows, of which a manifest from outside may have more."""
    return manifest.decisions.flips[:SHOWN_FLIPS] if manifest.decisions is not None else ()


def look_again(manifest: Manifest, folder: PictureFolder) -> tuple[Seen, ...]:
    """Return what there is to see of each flip of a bundle; only pictures that the folder itself lists are opened."""
    listed = set(folder.names)
    return tuple(_seen(flip, manifest, folder, known=flip.picture in listed) for flip in flips_of(manifest))


def summary(seen: tuple[Seen, ...], folder: PictureFolder) -> str:
    """Say how many of the flips are shown, and what keeps the others away."""
    missing = Counter(each.why for each in seen if each.why)
    reasons = "".join(f"; {count} {why}" for why, count in missing.items())
    return f"{len(seen) - missing.total()} of {len(seen)} pictures are shown, from the folder {folder.root.name}{reasons}"


def _seen(flip: Flipped, manifest: Manifest, folder: PictureFolder, *, known: bool) -> Seen:
    why = next(_objections(flip, folder, known=known), "")
    if why:
        return Seen(why=why)
    jpeg = thumbnail(folder.root / flip.picture, manifest.preprocess)
    return Seen(jpeg=jpeg) if jpeg else Seen(why="cannot be decoded")


def _objections(flip: Flipped, folder: PictureFolder, *, known: bool) -> Iterator[str]:
    if not flip.sha256:
        yield "cannot be known again: this bundle keeps no hash of them"
    if not known:
        yield "no longer there"
        return
    try:
        if sha256_of(folder.root / flip.picture) != flip.sha256:
            yield "another picture than was judged"
    except UsageError:
        yield "cannot be read"
