"""Registration with timm, against a stand-in for the part of timm that registration touches (its real names and calls)."""

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from edgevit_deploy.errors import MissingError
from edgevit_deploy.model import timm_models
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.variants import VARIANTS


class FakeTimm(ModuleType):
    """`timm.models.register_model` as in timm 1.0.31: by function name, with a configuration beside it in its module."""

    def __init__(self) -> None:
        super().__init__("timm")
        self.entrypoints: dict[str, Callable[..., EdgeViT]] = {}
        self.models = ModuleType("timm.models")
        self.models.register_model = self.register_model

    def register_model(self, function: Callable[..., EdgeViT]) -> Callable[..., EdgeViT]:
        assert sys.modules[function.__module__] is timm_models
        assert function.__name__ in timm_models.default_cfgs
        assert function.__name__ not in self.entrypoints
        self.entrypoints[function.__name__] = function
        return function


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTimm]:
    fake = FakeTimm()
    monkeypatch.setitem(sys.modules, "timm", fake)
    monkeypatch.setitem(sys.modules, "timm.models", fake.models)
    timm_models.register.cache_clear()
    yield fake
    timm_models.register.cache_clear()


def test_every_variant_is_registered_once(timm: FakeTimm) -> None:
    timm_models.register()
    timm_models.register()
    assert list(timm.entrypoints) == list(VARIANTS)


def test_importing_the_module_registers(timm: FakeTimm) -> None:
    importlib.reload(timm_models)
    assert list(timm.entrypoints) == list(VARIANTS)


def test_without_timm_the_module_imports_and_register_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "timm.models", None)
    importlib.reload(timm_models)
    with pytest.raises(MissingError, match=r"timm cannot be imported .*; pip install -e '\.\[timm\]'"):
        timm_models.register()


def test_a_foreign_torchvision_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class BrokenTorchvision(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))
    monkeypatch.setitem(sys.modules, "timm.models", BrokenTorchvision("timm.models"))
    timm_models.register.cache_clear()
    with pytest.raises(MissingError, match=r"nms does not exist.*; install the torchvision build that belongs to torch"):
        timm_models.register()
