"""What trainers leave of their preprocessing without meaning it for others: their arguments, and timm's configuration of a model.

DeiT's and the published trainer keep `args.input_size` as a side, and DeiT's later ones `args.eval_crop_ratio`. timm's trainer
keeps its arguments, of which those are None that the user left to the model (timm/data/config.py, resolve_data_config); who saves
a model of timm whole, or beside its `pretrained_cfg`, keeps that. An argument that was given goes before a model's configuration.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard, get_args

from edgevit_deploy.model.extras.beside import PUBLISHED_SIZE, Beside, Extras
from edgevit_deploy.model.preprocessing import Told
from edgevit_deploy.spec import (
    MAX_SEED,
    MAX_SIDE,
    PUBLISHED_CROP_RATIO,
    SIZE_STEP,
    Interpolation,
    PreprocessChoice,
    Size,
    Triple,
    imagenet_preprocess,
)

PLACES = ("args", "pretrained_cfg", "default_cfg")
"""Entries that tell, the first that does so counts; the last two are one thing, before and since timm 0.8."""

CROP_MODES = {"center": "cover", "squash": "stretch"}
"""timm's `crop_mode` -> `resize_mode`; its third, `border`, has no counterpart here."""

SMALLEST_RATIO = 0.5
"""Of a crop; no trainer evaluates on less of a picture."""


def read_traces(extras: Extras) -> Beside:
    """Read the size and the preprocessing that a trainer left; what is not there, or makes no sense, is as published."""
    notes: list[str] = []
    found = {field: _first(extras, names, read, notes) for field, (names, read) in FIELDS.items()}
    size, size_place = _first(extras, ("input_size", "img_size"), _size, notes)
    values = {field: value for field, (value, _) in found.items() if value is not None}
    return Beside(
        preprocess=PreprocessChoice(**values).applied_to(imagenet_preprocess(size or PUBLISHED_SIZE)),
        told=Told(size=size_place, fields={field: found[field][1] for field in values}),
        notes=tuple(notes),
        crop_ratio=values.get("crop_ratio", PUBLISHED_CROP_RATIO),
    )


def _first(extras: Extras, names: tuple[str, ...], read: Callable[[object], Any], notes: list[str]) -> tuple[Any, str]:
    """Return the first value that is told under one of the names and makes sense, and where; what makes none is noted."""
    for place in PLACES:
        entries = extras.get(place)
        if not isinstance(entries, Mapping):
            continue
        for name in names:
            value = entries.get(name)
            if value is None or (isinstance(value, str) and not value):  # timm's default of --interpolation
                continue
            read_value = read(value)
            if read_value is not None:
                return read_value, f"`{place}.{name}`"
            notes.append(f"`{place}.{name}` not used: {_shown(value)} is nothing that this program does")
    return None, ""


def _shown(value: object) -> str:
    """Return a value of anyone's in a few characters."""
    return repr(value)[:40] if isinstance(value, float | str) or _is_finite(value) else f"a {type(value).__name__}"


def _size(value: object) -> Size | None:
    """Read a side, or timm's (channels, height, width)."""
    height, width = value[1:] if isinstance(value, list | tuple) and len(value) == 3 else (value, value)
    return (height, width) if _is_side(height) and _is_side(width) else None


def _is_side(value: object) -> TypeGuard[int]:
    return type(value) is int and SIZE_STEP <= value <= MAX_SIDE and value % SIZE_STEP == 0


def _triple(value: object) -> Triple | None:
    """Read a number for each channel, or, as timm does, one for all."""
    numbers = list(value) if isinstance(value, list | tuple) and len(value) in (1, 3) else []
    if not numbers or not all(_is_finite(number) for number in numbers):
        return None
    red, green, blue = (float(number) for number in (numbers * 3)[:3])
    return red, green, blue


def _mean(value: object) -> Triple | None:
    mean = _triple(value)
    return mean if mean is None or max(mean) <= 1 else None


def _std(value: object) -> Triple | None:
    std = _triple(value)
    return std if std is None or 0 < min(std) <= max(std) <= 1 else None


def _ratio(value: object) -> float | None:
    return float(value) if _is_finite(value) and SMALLEST_RATIO <= value <= 1 else None


def _is_finite(value: object) -> TypeGuard[int | float]:
    return (isinstance(value, float) and math.isfinite(value)) or (type(value) is int and abs(value) <= MAX_SEED)


def _word(words: Mapping[str, str]) -> Callable[[object], str | None]:
    return lambda value: words.get(value) if isinstance(value, str) else None


FIELDS: Mapping[str, tuple[tuple[str, ...], Callable[[object], Any]]] = {
    "mean": (("mean",), _mean),
    "std": (("std",), _std),
    "crop_ratio": (("crop_pct", "eval_crop_ratio"), _ratio),
    "interpolation": (("interpolation",), _word({word: word for word in get_args(Interpolation)})),
    "resize_mode": (("crop_mode",), _word(CROP_MODES)),
}
"""Field of `PreprocessChoice` -> the names under which trainers keep it, and how each is read."""
