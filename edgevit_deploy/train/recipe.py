"""What is asked of a training: a frozen `Recipe`, whose fields are the flags of `convert.py train`."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.text import shortened
from edgevit_deploy.spec import MAX_SEED, check_image_size

Amp = Literal["fp32", "fp16", "bf16"]
ErasingMode = Literal["const", "pixel"]

REFERENCE_BATCH = 512
"""Pictures an update at which `learning_rate` holds as it is given; with more it grows in proportion."""

MAX_BATCH = 2**20
MAX_EPOCHS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every number that decides what the weights become.

    Attributes:
        image_size: Side of the pictures in pixels, a multiple of 32.
        small_image_size: Side during the first `small_epochs`, where a step is cheap; the position encoding is convolutional.
        epochs: Passes over the training pictures, those of small size among them.
        small_epochs: Passes at the small size; 0 for none.
        batch_size: Pictures an update, of all processes together.
        accumulate: Parts in which each process works through its share of a batch; BatchNorm sees a part at a time.
        learning_rate: For 512 pictures an update; scaled by batch size / 512.
        restart_learning_rate: Where a second cosine begins once the pictures have their final size; scaled likewise.
        warmup_epochs: Epochs of linear warm-up; the cosine begins where it ends.
        warmup_learning_rate: Where the warm-up begins; not scaled.
        min_learning_rate: Where the cosine ends; not scaled.
        weight_decay: AdamW's, on weights of two axes or more.
        beta1: AdamW's, of the gradient.
        beta2: AdamW's, of its square.
        clip_norm: Largest norm of the gradient; 0 does not clip.
        layer_decay: Factor of the learning rate from each block to the one before it; 1 for none.
        label_smoothing: Share of the target that is spread over all classes.
        mixup: Alpha of mixup; 0 for none.
        cutmix: Alpha of CutMix; 0 for none. With both, each batch gets one of them.
        auto_augment: Policy in timm's words (rand-m9-mstd0.5-inc1); none for none.
        color_jitter: Brightness, contrast and saturation vary by this share; of the policies of `auto_augment`, only beside 3a.
        crop_area: Smallest share of the picture that a random crop keeps.
        crop_aspect: Most that a crop's sides are stretched against each other.
        flip: Share of pictures mirrored left to right.
        erasing: Share of pictures of which a rectangle is erased.
        erasing_mode: const paints it with the mean colour, pixel with noise.
        repeats: Copies of each picture in a batch, each augmented by itself; an epoch then sees fewer different pictures.
        drop_path: Share of samples that skip a residual branch of the last block; linear from 0 at the first.
        ema_decay: Of the average of weights, per update.
        ema_warmup: Let the average begin short: decay 1 - (1 + updates)^(-2/3), until that is `ema_decay`.
        channels_last: Memory order of the activations; the fast one on CPUs and on GPUs in half precision.
        amp: Arithmetic of the forward pass: fp32, or autocast to bf16 or fp16.
        seed: Of every random draw.
    """

    image_size: int = 224
    small_image_size: int = 32
    epochs: float = 300.0
    small_epochs: float = 0.0
    batch_size: int = 1024
    accumulate: int = 1
    learning_rate: float = 5e-4
    restart_learning_rate: float = 5e-4
    warmup_epochs: float = 5.0
    warmup_learning_rate: float = 1e-6
    min_learning_rate: float = 1e-5
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.999
    clip_norm: float = 0.0
    layer_decay: float = 1.0
    label_smoothing: float = 0.1
    mixup: float = 0.8
    cutmix: float = 1.0
    auto_augment: str = "rand-m9-mstd0.5-inc1"
    color_jitter: float = 0.0
    crop_area: float = 0.08
    crop_aspect: float = 4 / 3
    flip: float = 0.5
    erasing: float = 0.25
    erasing_mode: ErasingMode = "pixel"
    repeats: int = 3
    drop_path: float = 0.1
    ema_decay: float = 0.99996
    ema_warmup: bool = False
    channels_last: bool = True
    amp: Amp = "fp32"
    seed: int = 0

    @property
    def scaled_learning_rate(self) -> float:
        """The learning rate of an update of `batch_size` pictures."""
        return self.scaled(self.learning_rate)

    def scaled(self, rate: float) -> float:
        """Return a rate for 512 pictures an update as that of an update of `batch_size`."""
        return rate * self.batch_size / REFERENCE_BATCH

    @property
    def mixes(self) -> bool:
        """Whether pictures are mixed with each other."""
        return self.mixup > 0 or self.cutmix > 0

    def check(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            UsageError: naming the flag, what it was given and what it takes.
        """
        for name in ("image_size", "small_image_size"):
            _check_side(name, getattr(self, name))
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise UsageError(f"{flag(name)} {value}: expected {low:g} to {high:g}")
        for name, known in WORDS.items():
            if getattr(self, name) not in known:
                raise UsageError(f"{flag(name)} {shortened(str(getattr(self, name)))}: expected {', '.join(known)}")
        if not POLICIES.fullmatch(self.auto_augment):
            raise UsageError(
                f"--auto-augment {shortened(self.auto_augment)}: timm has no such policy; give one like rand-m9-mstd0.5-inc1 or "
                f"augmix-m3, or original, v0, 3a or {NO_AUTO_AUGMENT}"
            )
        if self.color_jitter and not self.auto_augment.startswith((NO_AUTO_AUGMENT, "3a")):
            raise UsageError(
                f"--color-jitter {self.color_jitter:g}: timm does not use it beside --auto-augment {self.auto_augment}; "
                f"drop one of them, or give --auto-augment {NO_AUTO_AUGMENT} or 3a"
            )
        if self.small_epochs > self.epochs:
            raise UsageError(
                f"--small-epochs {self.small_epochs:g}: more than --epochs {self.epochs:g}, of which they are a part; lower it"
            )
        if self.warmup_epochs > self.epochs:
            raise UsageError(f"--warmup-epochs {self.warmup_epochs:g}: more than --epochs {self.epochs:g}; lower it")
        for name in ("learning_rate", "restart_learning_rate") if self.small_epochs else ("learning_rate",):
            rate = getattr(self, name)
            if self.min_learning_rate > self.scaled(rate):
                raise UsageError(
                    f"--min-learning-rate {self.min_learning_rate:g}: above the {name.replace('_', ' ')}, which is {rate:g} "
                    f"x {self.batch_size} / {REFERENCE_BATCH} = {self.scaled(rate):g}; lower it"
                )


_NUMBER = r"[0-9]{1,3}(\.[0-9]{1,3})?"

RANGES: Mapping[str, tuple[float, float]] = {
    "epochs": (1e-6, MAX_EPOCHS),
    "small_epochs": (0, MAX_EPOCHS),
    "batch_size": (2, MAX_BATCH),
    "accumulate": (1, MAX_BATCH),
    "learning_rate": (0, 10),
    "restart_learning_rate": (0, 10),
    "warmup_epochs": (0, MAX_EPOCHS),
    "warmup_learning_rate": (0, 10),
    "min_learning_rate": (0, 10),
    "weight_decay": (0, 10),
    "beta1": (0, 0.99999),
    "beta2": (0, 0.9999999),
    "clip_norm": (0, 1e9),
    "layer_decay": (0.01, 1),
    "label_smoothing": (0, 0.99),
    "mixup": (0, 100),
    "cutmix": (0, 100),
    "color_jitter": (0, 1),
    "crop_area": (0.01, 1),
    "crop_aspect": (1, 10),
    "flip": (0, 1),
    "erasing": (0, 1),
    "repeats": (1, 100),
    "drop_path": (0, 0.9),
    "ema_decay": (0, 0.9999999),
    "seed": (0, MAX_SEED),
}
"""What each number may be, both ends included."""

WORDS: Mapping[str, tuple[str, ...]] = {"erasing_mode": get_args(ErasingMode), "amp": get_args(Amp)}
"""What each word may be."""

PARTS: Mapping[str, str] = {
    "small_image_size": "small_epochs",
    "restart_learning_rate": "small_epochs",
    "warmup_learning_rate": "warmup_epochs",
    "erasing_mode": "erasing",
}
"""Fields that mean nothing where another one is 0."""

NO_AUTO_AUGMENT = "none"

POLICIES = re.compile(
    rf"{NO_AUTO_AUGMENT}|(original|v0)r?(-mstd{_NUMBER})?|3a(-mstd{_NUMBER})?"
    rf"|rand(-(m|n|mmax|inc)[0-9]{{1,3}}|-(p|mstd){_NUMBER})*|augmix(-(m|w|d|b)[1-9][0-9]?|-(a|mstd){_NUMBER})*"
)
"""Of timm's words for policies, those that it reads; it passes over what it does not know, and so would over a misspelling."""


def changed(recipe: Recipe, choices: Mapping[str, object]) -> Recipe:
    """Return a recipe with the fields that somebody named; None stands for one that nobody did.

    Raises:
        UsageError: one of them would mean nothing.
    """
    said = {name: value for name, value in choices.items() if value is not None}
    made = replace(recipe, **said)  # type: ignore[arg-type]
    for name, whole in PARTS.items():
        if name in said and getattr(made, whole) == 0:
            raise UsageError(f"{flag(name)} {said[name]}: means nothing with {flag(whole)} 0; drop it, or raise {flag(whole)}")
    return made


def differences(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Return a line for each field that two recipes, as their plain values, do not share."""
    names = [field.name for field in fields(Recipe)]
    return [f"{flag(name)} was {old.get(name)}, is {new.get(name)}" for name in names if old.get(name) != new.get(name)]


def flag(name: str) -> str:
    """Return how a field is typed."""
    return f"--{name.replace('_', '-')}"


def _check_side(name: str, side: int) -> None:
    try:
        check_image_size(side, side)
    except UsageError as error:
        raise UsageError(f"{flag(name)} {side}: {error}") from error
