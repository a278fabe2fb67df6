"""The preprocessing that is used: what the file tells, what the user says, and what is assumed because nobody does."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from edgevit_deploy.spec import MAX_RESIZED, MAX_SIDE, PADDED, ModelSpec, Preprocess, PreprocessChoice, Size

NAMES = {
    "crop_ratio": "crop ratio",
    "resize_mode": "resize mode",
    "interpolation": "interpolation",
    "mean": "mean",
    "std": "std",
}
"""Fields of `PreprocessChoice`, each of which is a flag, in words."""

FIELDS = {"crop_ratio": "resize", "resize_mode": "fit", "interpolation": "interpolation", "mean": "mean", "std": "std"}
"""The field of `Preprocess` that each of them decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What of the evaluation's preprocessing a file tells itself; all else is assumed.

    Attributes:
        size: where it tells the image size; empty where it does not.
        fields: a field of `spec.PreprocessChoice` -> where it tells that.
    """

    size: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def settle(
    spec: ModelSpec, told: Told, size: Size | None, said: PreprocessChoice | Preprocess | None
) -> tuple[ModelSpec, tuple[str, ...]]:
    """Return a network with the size and the preprocessing that are used, and what must be known of where they come from.

    Args:
        spec: as its file tells and as is assumed.
        told: what of that the file tells.
        size: (height, width) that the user says; None for the file's.
        said: what the user says of the preprocessing; or all of it, as a bundle records it, and then nothing is assumed.

    Raises:
        UsageError: a size that cannot be, or pictures would be resized to more pixels than a manifest may record.
    """
    used = spec if size is None else spec.with_image_size(size)
    if isinstance(said, Preprocess):
        return replace(used, preprocess=said, crop_ratio=None), ()
    choice = said or PreprocessChoice()
    used = used.with_preprocess(choice)
    uncropped = used.preprocess.fit in PADDED  # which says the crop ratio too
    given = [name for name in NAMES if getattr(choice, name) is not None or (uncropped and name == "crop_ratio")]
    return used, tuple(
        note
        for note in (
            _taken(used, told, given, size is None),
            _overruled(spec, used, told, given),
            _assumed(used, told, given, size is None),
        )
        if note
    )


def completed(told: Told, own: Preprocess, other: Preprocess) -> Preprocess:
    """Return a checkpoint's preprocessing, with another one's in everything that its file does not tell."""
    untold = {FIELDS[name]: getattr(other, FIELDS[name]) for name in NAMES if name not in told.fields}
    whole = replace(own, **untold)
    return replace(whole, resize=whole.crop) if whole.fit in PADDED else whole


def values(spec: ModelSpec) -> dict[str, str]:
    """Return each field of the preprocessing as text, by its name in `PreprocessChoice`."""
    preprocess = spec.preprocess
    return {
        "crop_ratio": f"{crop_ratio(spec):.4g}",
        "resize_mode": preprocess.fit,
        "interpolation": preprocess.interpolation,
        "mean": ",".join(f"{value:g}" for value in preprocess.mean),
        "std": ",".join(f"{value:g}" for value in preprocess.std),
    }


def crop_ratio(spec: ModelSpec) -> float:
    """Return which share of each side of the resized picture the crop keeps: what it was made of, else by the pixels."""
    crop, resize = spec.preprocess.crop, spec.preprocess.resize
    return spec.crop_ratio if spec.crop_ratio is not None else max(crop[0] / resize[0], crop[1] / resize[1])


def objections(preprocess: Preprocess) -> Iterator[str]:
    """Yield what is wrong with a preprocessing that was read from a file, before anything is computed by it."""
    for name, size, largest in (("resize", preprocess.resize, MAX_RESIZED), ("crop", preprocess.crop, MAX_SIDE)):
        if not all(1 <= side <= largest for side in size):
            yield f"preprocess.{name} {size}, expected sides from 1 to {largest}"
    if any(side < cut for side, cut in zip(preprocess.resize, preprocess.crop, strict=True)):
        yield f"preprocess.crop {preprocess.crop} is larger than preprocess.resize {preprocess.resize}"
    elif preprocess.fit in PADDED and preprocess.resize != preprocess.crop:
        yield f"preprocess.resize {preprocess.resize} is not preprocess.crop {preprocess.crop}, as fit {preprocess.fit} wants"
    numbers = (*preprocess.mean, *preprocess.std, *preprocess.value_range)
    if not all(map(math.isfinite, numbers)) or min(preprocess.std) <= 0 or preprocess.value_range[0] >= preprocess.value_range[1]:
        yield "preprocess has a mean, std or value range that cannot normalise a picture"


def _taken(used: ModelSpec, told: Told, given: list[str], own_size: bool) -> str:
    """Say what the file tells and is used, by where it tells it."""
    by_place: dict[str, list[str]] = {}
    if told.size and own_size:
        by_place.setdefault(told.size, []).append(f"image size {_sides(used.image_size)}")
    for name in NAMES:
        if name in told.fields and name not in given:
            by_place.setdefault(told.fields[name], []).append(f"{NAMES[name]} {values(used)[name]}")
    return "; ".join(f"{', '.join(names)} taken from {place}" for place, names in by_place.items())


def _overruled(spec: ModelSpec, used: ModelSpec, told: Told, given: list[str]) -> str:
    """Say what the file tells otherwise than the flags, which win."""
    before, after = values(spec), values(used)
    told_otherwise = [
        f"--{name.replace('_', '-')} {after[name]}, not {before[name]} ({told.fields[name]})"
        for name in given
        if name in told.fields and before[name] != after[name]
    ]
    if told.size and used.image_size != spec.image_size:
        told_otherwise.insert(0, f"--image-size {_sides(used.image_size)}, not {_sides(spec.image_size)} ({told.size})")
    return f"used as said, though the file tells otherwise: {'; '.join(told_otherwise)}" if told_otherwise else ""


def _assumed(used: ModelSpec, told: Told, given: list[str], own_size: bool) -> str:
    """Say in one note what nobody told, with the values that are used and the flags for others."""
    names = [name for name in NAMES if name not in told.fields and name not in given]
    size_assumed = own_size and not told.size
    if not names and not size_assumed:
        return ""
    text = values(used)
    sizes = f" ({_sides(used.preprocess.resize)} cut to {_sides(used.preprocess.crop)})"
    parts = [f"image size {_sides(used.image_size)}"] if size_assumed else []
    parts += [f"{NAMES[name]} {text[name]}{sizes if name == 'crop_ratio' else ''}" for name in names]
    flags = ["--image-size"] if size_assumed else []
    flags += [f"--{name.replace('_', '-')}" for name in names]
    where = "" if size_assumed else f" for {_sides(used.image_size)} pixels"
    return f"not in the file, so assumed{where}: {', '.join(parts)}; to say otherwise: {', '.join(flags)}"


def _sides(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
