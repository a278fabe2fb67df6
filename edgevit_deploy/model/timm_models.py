"""The same variants under timm's roof: `import edgevit_deploy.model.timm_models`, then `timm.create_model("edgevit_xxs")`.

Importing this module registers them when timm can be imported (extra `timm`); without timm it does nothing, and `register`
says why. The models are our own `EdgeViT` in evaluation mode: their keys are the reference keys, so what timm's trainer saves
of them is read back by `read_checkpoint`, and `timm.data.resolve_data_config` finds their preprocessing.
"""

from collections.abc import Callable
from contextlib import suppress

from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.variants import VARIANTS, create_model
from edgevit_deploy.spec import ModelSpec, Size


def register() -> None:
    """Register every variant with timm; doing it again changes nothing.

    Raises:
        MissingError: timm is not installed, or it or its torchvision cannot be imported.
    """
    try:
        from timm.models import register_model
    except (ImportError, RuntimeError) as error:  # torchvision built for another torch raises RuntimeError on import
        raise MissingError(f"timm cannot be imported ({error}); pip install 'edgevit-deploy[timm]'") from error
    for name in VARIANTS:
        register_model(_entrypoint(name))


class TimmEdgeViT(EdgeViT):
    """The network with what timm reads off a model: `pretrained_cfg` and `num_classes`."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.num_classes = spec.num_classes
        self.pretrained_cfg = _data_config(spec)


def _entrypoint(name: str) -> Callable[..., EdgeViT]:
    """Return the function of this name that timm calls, with the arguments that timm always passes and ours."""

    def build(
        *,
        pretrained: bool = False,
        pretrained_cfg: object = None,
        pretrained_cfg_overlay: object = None,
        cache_dir: object = None,
        num_classes: int = 1000,
        img_size: int | Size = 224,
    ) -> EdgeViT:
        if pretrained:
            raise UsageError(
                f"no pretrained weights of {name} are published by its authors; use pretrained=False and checkpoint_path=FILE"
            )
        del pretrained_cfg, pretrained_cfg_overlay, cache_dir  # they only concern pretrained weights
        return create_model(name, num_classes=num_classes, image_size=img_size)

    build.__name__ = build.__qualname__ = name
    return build


def _data_config(spec: ModelSpec) -> dict[str, object]:
    preprocess = spec.preprocess
    return {
        "input_size": (3, *spec.image_size),
        "crop_pct": preprocess.crop[0] / preprocess.resize[0],
        "interpolation": preprocess.interpolation,
        "mean": preprocess.mean,
        "std": preprocess.std,
        "num_classes": spec.num_classes,
        "classifier": "head",
        "first_conv": "patch_embed1.proj",
    }


with suppress(MissingError):
    register()
