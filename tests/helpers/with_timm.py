"""timm with this project's networks in it, for the tests that need the real one."""

from types import ModuleType

import pytest

from edgevit_deploy.model import timm_models
from edgevit_deploy.model.peers import make_torchvision_importable


def registered_timm() -> ModuleType:
    """Return timm; the test is skipped where it is not installed."""
    make_torchvision_importable()
    timm: ModuleType = pytest.importorskip("timm")
    if not timm.is_model("edgevit_xxs"):
        timm_models.register.cache_clear()  # another test may have registered with a stand-in
        timm_models.register()
    return timm
