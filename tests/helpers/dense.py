"""Small networks for dense prediction, for the tests that convert, train or evaluate them."""

from typing import Any

import pytest

from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.spec import HeadSpec
from tests.helpers.small import SMALL_SIZE
from tests.helpers.with_timm import registered_timm


def library() -> Any:
    """segmentation_models_pytorch, with this project's backbones in its timm; the test is skipped where it is not installed."""
    registered_timm()
    return pytest.importorskip("segmentation_models_pytorch")


def segmenter(**changes: Any) -> LoadedModel:
    """XXS of 5 classes for 64 x 64 images with a narrow Semantic FPN, of random weights."""
    library()
    head = HeadSpec(kind="semantic_fpn", pyramid_channels=64, head_channels=32)
    given = {"model": "edgevit_xxs", "num_classes": 5, "image_size": SMALL_SIZE, "seed": 3, "task": "segment", "head": head}
    given |= changes
    return load_model(ModelOrigin(**given))
