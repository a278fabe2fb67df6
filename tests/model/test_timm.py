"""Registration with timm, against a stand-in for the part of timm that registration touches (its real names and calls)."""

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch

from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.model import timm_models
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.variants import VARIANTS, create_model


class FakeTimm(ModuleType):
    """`timm.models.register_model` and `timm.create_model` as in timm 1.0.31: by function name, with these arguments."""

    def __init__(self) -> None:
        super().__init__("timm")
        self.entrypoints: dict[str, Callable[..., EdgeViT]] = {}
        self.models = ModuleType("timm.models")
        self.models.register_model = self.register_model

    def register_model(self, function: Callable[..., EdgeViT]) -> Callable[..., EdgeViT]:
        assert sys.modules[function.__module__] is timm_models
        assert function.__name__ not in self.entrypoints
        self.entrypoints[function.__name__] = function
        return function

    def create_model(self, name: str, *, pretrained: bool = False, **options: object) -> EdgeViT:
        given = {key: value for key, value in options.items() if value is not None}
        return self.entrypoints[name](
            pretrained=pretrained, pretrained_cfg=None, pretrained_cfg_overlay=None, cache_dir=None, **given
        )


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


@pytest.mark.parametrize("name", VARIANTS)
def test_models_are_ours(name: str, timm: FakeTimm) -> None:
    timm_models.register()
    model = timm.create_model(name, num_classes=10, drop_rate=0.0, drop_path_rate=None)
    assert isinstance(model, EdgeViT)
    assert not model.training
    assert model.spec == create_model(name, num_classes=10).spec
    assert list(model.state_dict()) == list(create_model(name, num_classes=10).state_dict())
    assert model.num_classes == 10
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_data_configuration_follows_the_image_size(timm: FakeTimm) -> None:
    timm_models.register()
    config = timm.create_model("edgevit_xxs", img_size=256).pretrained_cfg
    assert config["input_size"] == (3, 256, 256)
    assert int(256 / config["crop_pct"]) == create_model("edgevit_xxs", image_size=256).spec.preprocess.resize[0]
    assert config["interpolation"] == "bicubic"
    assert config["mean"] == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pretrained": True}, "no pretrained edgevit_xxs is published by its authors; use pretrained=False"),
        ({"in_chans": 1}, "takes RGB images and has no dropout: got in_chans=1"),
        ({"drop_rate": 0.1}, "takes RGB images and has no dropout: got in_chans=3, drop_rate=0.1"),
        ({"num_classes": 0}, "a classifier needs at least 1 class, got 0"),
        ({"img_size": 230}, "image height 230 is not a positive multiple of 32"),
    ],
)
def test_what_cannot_be_had_is_refused(options: dict[str, object], said: str, timm: FakeTimm) -> None:
    timm_models.register()
    with pytest.raises(UsageError, match=said):
        timm.create_model("edgevit_xxs", **options)


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
