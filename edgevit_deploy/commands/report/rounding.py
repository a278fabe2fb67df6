"""What the page says of a rounded file: how, what each operator loses by it, and how the file decides."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.calibration.record import Calibration
from edgevit_deploy.commands.report.accuracy import jpeg_url
from edgevit_deploy.commands.report.flips import Seen, flips_of
from edgevit_deploy.parity.decisions import NO_CLASS, Flipped
from edgevit_deploy.spec import PROGRAM

SHOWN = 12
"""Operators, those that lose most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorLoss:
    """One operator: its SQNR as text and as a bar from 0 to 100, and the ranges of its activations."""

    path: str
    sqnr: str
    bar: float
    input: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipView:
    """One picture for which the file names another first class than the network; `url` is empty where it cannot be shown.

    `why` says why it cannot, where somebody looked; `label` is empty where the true class is not known.
    """

    picture: str
    label: str
    network: str
    margin: str
    file: str
    file_margin: str
    url: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundingView:
    """What the template is given."""

    sentences: tuple[str, ...]
    losses: tuple[OperatorLoss, ...]
    operators: int
    flips: tuple[FlipView, ...]
    looked: bool
    how: str

    @property
    def shows_pictures(self) -> bool:
        """Whether there is any."""
        return any(flip.url for flip in self.flips)


def rounding_view(
    manifest: Manifest,
    calibration: Calibration | None,
    labels: tuple[str, ...],
    seen: tuple[Seen, ...] | None = None,
    looked: str = "",
) -> RoundingView | None:
    """Return what is said of a rounded file; None of one in floating point.

    Args:
        manifest: of its bundle.
        calibration: of its ranges.
        labels: of its classes.
        seen: of each flip, what there is to see; None where nobody looked.
        looked: says in a line what came of looking.
    """
    quantisation, decisions, flips = manifest.quantisation, manifest.decisions, flips_of(manifest)
    if quantisation is None:
        return None
    worst = sorted(quantisation.sqnr_db.items(), key=lambda item: item[1])[:SHOWN]
    unit = " in probability" if manifest.conversion.returns == "probabilities" else ""  # the network's are of logits
    highest = max(quantisation.sqnr_db.values(), default=1.0)
    return RoundingView(
        sentences=(
            quantisation.scheme.sentence(),
            *((calibration.sentence(),) if calibration else ()),
            f"Decisions: {decisions.sentence()}." if decisions else "Decisions were not judged: no pictures were kept for that.",
        ),
        losses=tuple(_loss(path, sqnr_db, highest, calibration) for path, sqnr_db in worst),
        operators=len(quantisation.sqnr_db),
        flips=tuple(_flip(flip, labels, look, unit) for flip, look in zip(flips, seen or (Seen(),) * len(flips), strict=True)),
        looked=seen is not None,
        how=looked or f"`{PROGRAM} report BUNDLE --judge DIR`, with the folder of these pictures, shows them here.",
    )


def _flip(flip: Flipped, labels: Sequence[str], seen: Seen, unit: str) -> FlipView:
    return FlipView(
        picture=flip.picture,
        label="" if flip.label is None else _label(labels, flip.label),
        network=_label(labels, flip.network),
        margin=f"{flip.margin:.3g}",
        file=_label(labels, flip.file),
        file_margin="-" if flip.file_margin is None else f"{flip.file_margin:.3g}{unit}",
        url=jpeg_url(seen.jpeg),
        why=seen.why,
    )


def _loss(path: str, sqnr_db: float, highest: float, calibration: Calibration | None) -> OperatorLoss:
    ranges = calibration.ranges.get(path) if calibration else None
    ends = [f"{end.low:.3g} to {end.high:.3g}" if end else "-" for end in (ranges and ranges.input, ranges and ranges.output)]
    share = max(0.0, min(100.0, 100 * sqnr_db / max(highest, 1.0)))
    return OperatorLoss(path=path, sqnr=f"{sqnr_db:.1f}", bar=round(share, 2), input=ends[0], output=ends[1])


def _label(labels: Sequence[str], place: int) -> str:
    if place == NO_CLASS:
        return "not finite"
    return labels[place] if 0 <= place < len(labels) else f"class {place}"
