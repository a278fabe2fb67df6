"""timm, which the transforms, Mixup, optimiser, schedule and average of a training come from."""

import importlib
from typing import Any

from edgevit_deploy.errors import MissingError
from edgevit_deploy.registry import requires


def timm_part(name: str) -> Any:
    """Return a module of timm's.

    Args:
        name: below `timm`: data, optim, scheduler or utils.

    Raises:
        MissingError: timm is not installed.
    """
    availability = requires("timm", "torchvision", extra="train")
    if not availability.ok:
        raise MissingError(f"training is built from timm's parts: {availability.detail}; {availability.fix}")
    from edgevit_deploy.model.peers import make_torchvision_importable

    make_torchvision_importable()
    return importlib.import_module(f"timm.{name}")
