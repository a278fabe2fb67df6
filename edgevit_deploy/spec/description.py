"""What a model file itself says of its input and classes, to tools that read no manifest."""

from dataclasses import dataclass
from typing import Self

from edgevit_deploy.spec import INPUTS, InputKind, Preprocess, Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """`(x - mean) / std` of a pixel's value x from 0 to 255, channel by channel; mean 0 and std 1 change nothing."""

    mean: Triple
    std: Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a file says.

    Attributes:
        labels: class names in the order of its output; empty where it names none.
        normalisation: of pixels; None where it says none.
    """

    labels: tuple[str, ...] = ()
    normalisation: Normalisation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """Which of it a file says: whether it names its classes, and whether it says how pixels are normalised."""

    labels: bool
    normalisation: bool

    @classmethod
    def by(cls, description: Description) -> Self:
        """Return which of it is said."""
        return cls(labels=bool(description.labels), normalisation=description.normalisation is not None)


def normalisation_of(preprocess: Preprocess, takes: InputKind) -> Normalisation:
    """Return what must be done to values from 0 to 255 for a network's input."""
    if INPUTS[takes].pixels:
        return Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    low, high = preprocess.value_range
    red, green, blue = (255 * (mean - low) / (high - low) for mean in preprocess.mean)
    stds = (255 * std / (high - low) for std in preprocess.std)
    return Normalisation(mean=(red, green, blue), std=(next(stds), next(stds), next(stds)))
