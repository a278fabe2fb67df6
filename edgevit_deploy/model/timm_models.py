"""The same variants under timm's roof: `import edgevit_deploy.model.timm_models`, then `timm.create_model("edgevit_xxs")`.

Importing this module registers them when timm can be imported (extra `timm`); without timm it does nothing, and `register`
says why. Other libraries that take their backbones from timm have them from then on.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.model.peers import make_torchvision_importable
from edgevit_deploy.model.timm_network import TimmEdgeViT
from edgevit_deploy.model.variants import VARIANTS, find_variant
from edgevit_deploy.registry import install_command
from edgevit_deploy.spec import IMAGENET_224, PUBLISHED_CROP_RATIO, Size

default_cfgs = {  # by this name timm looks for it in the module of what is registered
    name: {
        "input_size": (3, *spec.image_size),
        "min_input_size": (3, 32, 32),
        "pool_size": (7, 7),
        "crop_pct": PUBLISHED_CROP_RATIO,
        "interpolation": IMAGENET_224.interpolation,
        "mean": IMAGENET_224.mean,
        "std": IMAGENET_224.std,
        "num_classes": spec.num_classes,
        "classifier": "head",
        "first_conv": "patch_embed1.proj",
    }
    for name, spec in VARIANTS.items()
}


@cache
def register() -> None:
    """Register every variant with timm, once.

    Raises:
        MissingError: timm is not installed, or the torchvision that it imports was built for another torch.
    """
    try:
        make_torchvision_importable()
        from timm.models import register_model
    except ImportError as error:
        raise MissingError(f"timm cannot be imported ({error}); {install_command('timm')}") from error
    except RuntimeError as error:  # raised by torchvision when its compiled operators do not load
        raise MissingError(
            f"timm cannot import torchvision ({error}); install the torchvision build that belongs to torch {torch.__version__}"
        ) from error
    for name in VARIANTS:
        register_model(_entrypoint(name))


def _entrypoint(name: str) -> Callable[..., nn.Module]:
    """Return the function that timm calls; it takes what timm's factory and scripts pass, and refuses what it cannot do."""

    def build(
        *,
        pretrained: bool = False,
        pretrained_cfg: object = None,
        pretrained_cfg_overlay: Mapping[str, object] | None = None,
        pretrained_model_args: Mapping[str, object] | None = None,
        cache_dir: str | None = None,
        num_classes: int | None = None,
        global_pool: str = "avg",
        img_size: int | Size | None = None,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        features_only: bool = False,
        out_indices: int | Sequence[int] = (0, 1, 2, 3),
        feature_cls: str | type[nn.Module] = "getter",
    ) -> nn.Module:
        from timm.models import build_model_with_cfg, resolve_pretrained_cfg

        if in_chans != 3 or drop_rate != 0:
            raise UsageError(f"{name} takes RGB images and has no dropout: got in_chans={in_chans}, drop_rate={drop_rate}")
        source: dict[str, Any] = {"pretrained_cfg": pretrained_cfg, "pretrained_cfg_overlay": dict(pretrained_cfg_overlay or {})}
        if img_size is not None:
            source["pretrained_cfg_overlay"].setdefault("input_size", (3, *_sides(img_size)))
        configuration = resolve_pretrained_cfg(name, **source)
        if pretrained and not (configuration.has_weights or configuration.state_dict):
            raise UsageError(
                f"no pretrained {name} is published by its authors; use pretrained=False, or checkpoint_path=FILE, or name a "
                "file of yours: pretrained_cfg_overlay={'file': FILE}"
            )
        given = {"num_classes": num_classes, "img_size": img_size, "pretrained_model_args": pretrained_model_args}
        options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        network: nn.Module = build_model_with_cfg(
            partial(_network, name),
            name,
            pretrained,
            **source,
            cache_dir=cache_dir,
            feature_cfg={"out_indices": out_indices, "feature_cls": feature_cls},
            features_only=features_only,
            kwargs_filter=("in_chans",),
            global_pool=global_pool,
            **options,
        )
        return network

    build.__name__ = build.__qualname__ = name
    return build


def _network(name: str, *, num_classes: int, global_pool: str, img_size: int | Size = 224) -> TimmEdgeViT:
    spec = replace(find_variant(name), num_classes=num_classes)
    return TimmEdgeViT(spec.with_image_size(_sides(img_size)), global_pool)


def _sides(img_size: int | Size) -> Size:
    return (img_size, img_size) if isinstance(img_size, int) else img_size


with suppress(MissingError):
    register()
