"""The same variants under timm's roof: `import edgevit_deploy.model.timm_models`, then `timm.create_model("edgevit_xxs")`.

Importing this module registers them when timm can be imported (extra `timm`); without timm it does nothing, and `register`
says why. The keys are the reference keys, so what timm's trainer saves of these models is read back by `read_checkpoint`.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache

import torch

from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.variants import VARIANTS, create_model
from edgevit_deploy.registry import install_command
from edgevit_deploy.spec import ModelSpec, Size


class TimmEdgeViT(EdgeViT):
    """The network with the two attributes that timm's scripts read off a model: its classes and its data configuration."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.num_classes = spec.num_classes
        self.pretrained_cfg = {
            "input_size": (3, *spec.image_size),
            "crop_pct": spec.preprocess.crop[0] / spec.preprocess.resize[0],
            "interpolation": spec.preprocess.interpolation,
            "mean": spec.preprocess.mean,
            "std": spec.preprocess.std,
            "num_classes": spec.num_classes,
            "classifier": "head",
            "first_conv": "patch_embed1.proj",
        }


@cache
def register() -> None:
    """Register every variant with timm, once.

    Raises:
        MissingError: timm is not installed, or the torchvision that it imports was built for another torch.
    """
    try:
        from timm.models import register_model
    except ImportError as error:
        raise MissingError(f"timm cannot be imported ({error}); {install_command('timm')}") from error
    except RuntimeError as error:  # raised by torchvision when its compiled operators do not load
        raise MissingError(
            f"timm cannot import torchvision ({error}); install the torchvision build that belongs to torch {torch.__version__}"
        ) from error
    for name in VARIANTS:
        register_model(_entrypoint(name))


def _entrypoint(name: str) -> Callable[..., TimmEdgeViT]:
    """Return the function that timm calls; it takes what timm's factory and scripts pass, and refuses what it cannot do."""

    def build(
        *,
        pretrained: bool = False,
        pretrained_cfg: object = None,
        pretrained_cfg_overlay: object = None,
        cache_dir: object = None,
        num_classes: int = 1000,
        img_size: int | Size = 224,
        in_chans: int = 3,
        drop_rate: float = 0.0,
    ) -> TimmEdgeViT:
        del pretrained_cfg, pretrained_cfg_overlay, cache_dir  # they are about pretrained weights, of which there are none
        if pretrained:
            raise UsageError(f"no pretrained {name} is published by its authors; use pretrained=False, checkpoint_path=FILE")
        if in_chans != 3 or drop_rate != 0:
            raise UsageError(f"{name} takes RGB images and has no dropout: got in_chans={in_chans}, drop_rate={drop_rate}")
        with torch.device("meta"):
            spec = create_model(name, num_classes=num_classes, image_size=img_size).spec
        return TimmEdgeViT(spec).eval()

    build.__name__ = build.__qualname__ = name
    return build


with suppress(MissingError):
    register()
