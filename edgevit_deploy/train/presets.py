"""The recipes that have a name.

Sources of `deit`: saic-fi/edgevit src/main.py, which is DeiT's (Touvron et al., ICML 2021, table 9).
"""

from collections.abc import Mapping
from typing import Literal

from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.train.recipe import NO_AUTO_AUGMENT, Recipe

PresetName = Literal["deit", "finetune", "small", "qat", "segment"]

PRESETS: Mapping[PresetName, Recipe] = {
    "deit": Recipe(),
    "finetune": Recipe(
        epochs=30.0,
        batch_size=256,
        warmup_epochs=2.0,
        learning_rate=2.5e-4,
        restart_learning_rate=2.5e-4,
        min_learning_rate=1e-6,
        layer_decay=0.75,
        clip_norm=5.0,
        mixup=0.2,
        cutmix=0.5,
        auto_augment="rand-m6-mstd0.5-inc1",
        crop_area=0.25,
        repeats=1,
        drop_path=0.05,
        ema_decay=0.9998,
        ema_warmup=True,
    ),
    "small": Recipe(
        image_size=64,
        epochs=4.25,
        small_epochs=3.0,
        batch_size=128,
        learning_rate=6e-3,  # 1.5e-3 at 128 pictures an update
        restart_learning_rate=4e-3,
        warmup_epochs=0.4,
        min_learning_rate=1.5e-5,
        beta2=0.98,
        clip_norm=5.0,
        mixup=0.0,
        cutmix=0.0,
        auto_augment=NO_AUTO_AUGMENT,
        crop_area=0.6,
        crop_aspect=1.15,
        erasing_mode="const",
        repeats=1,
        drop_path=0.0,
        ema_decay=0.99,
        ema_warmup=True,
    ),
    "qat": Recipe(
        epochs=2.0,
        batch_size=128,
        learning_rate=1e-4,  # 2.5e-5 at 128 pictures an update
        restart_learning_rate=1e-4,
        warmup_epochs=0.1,
        min_learning_rate=1e-6,
        clip_norm=5.0,
        mixup=0.0,
        cutmix=0.0,
        auto_augment=NO_AUTO_AUGMENT,
        crop_area=0.6,
        crop_aspect=1.15,
        erasing=0.0,
        repeats=1,
        drop_path=0.0,
        ema_decay=0.998,
        ema_warmup=True,
    ),
    "segment": Recipe(
        image_size=512,
        epochs=40.0,
        batch_size=16,
        learning_rate=6.4e-3,  # 2e-4 at 16 pictures an update
        warmup_epochs=1.0,
        min_learning_rate=1e-6,
        clip_norm=5.0,
        label_smoothing=0.0,
        mixup=0.0,
        cutmix=0.0,
        auto_augment=NO_AUTO_AUGMENT,
        crop_area=0.25,
        erasing=0.0,
        repeats=1,
        drop_path=0.05,
        ema_decay=0.999,
        ema_warmup=True,
    ),
}
"""`deit` is the published one, `finetune` starts from weights of the same network, `small` is for small pictures on a CPU, and
`qat` goes on from trained weights for a little, so that they learn their rounding; `segment` is for pictures with masks."""


def preset(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        UsageError: there is none; the message names the closest.
    """
    found = next((recipe for known, recipe in PRESETS.items() if known == name), None)
    if found is None:
        raise UsageError(f"--recipe {name}: no such recipe; {did_you_mean(name, PRESETS)}")
    return found
