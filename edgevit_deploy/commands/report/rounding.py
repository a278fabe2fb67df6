"""What the page says of a rounded file: how, what each operator loses by it, and how the file decides."""

from dataclasses import dataclass

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.calibration.record import Calibration

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
    """One picture for which the file names another first class than the network."""

    picture: str
    network: str
    file: str
    margin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundingView:
    """What the template is given."""

    sentences: tuple[str, ...]
    losses: tuple[OperatorLoss, ...]
    operators: int
    flips: tuple[FlipView, ...]


def rounding_view(manifest: Manifest, calibration: Calibration | None, labels: tuple[str, ...]) -> RoundingView | None:
    """Return what is said of a rounded file; None of one in floating point."""
    quantisation, decisions = manifest.quantisation, manifest.decisions
    if quantisation is None:
        return None
    worst = sorted(quantisation.sqnr_db.items(), key=lambda item: item[1])[:SHOWN]
    highest = max(quantisation.sqnr_db.values(), default=1.0)
    return RoundingView(
        sentences=(
            quantisation.scheme.sentence(),
            *((calibration.sentence(),) if calibration else ()),
            f"Decisions: {decisions.sentence()}." if decisions else "Decisions were not judged: no pictures were kept for that.",
        ),
        losses=tuple(_loss(path, sqnr_db, highest, calibration) for path, sqnr_db in worst),
        operators=len(quantisation.sqnr_db),
        flips=tuple(
            FlipView(
                picture=flip.picture,
                network=_label(labels, flip.network),
                file=_label(labels, flip.file),
                margin=f"{flip.margin:.3g}",
            )
            for flip in (decisions.flips if decisions else ())
        ),
    )


def _loss(path: str, sqnr_db: float, highest: float, calibration: Calibration | None) -> OperatorLoss:
    ranges = calibration.ranges.get(path) if calibration else None
    ends = [f"{end.low:.3g} to {end.high:.3g}" if end else "-" for end in (ranges and ranges.input, ranges and ranges.output)]
    share = max(0.0, min(100.0, 100 * sqnr_db / max(highest, 1.0)))
    return OperatorLoss(path=path, sqnr=f"{sqnr_db:.1f}", bar=round(share, 2), input=ends[0], output=ends[1])


def _label(labels: tuple[str, ...], place: int) -> str:
    return labels[place] if 0 <= place < len(labels) else "not finite"
