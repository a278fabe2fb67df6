"""edgevit-deploy: from an EdgeViT checkpoint to verified deployment bundles.

    import edgevit_deploy

    conversion = edgevit_deploy.convert(target, model="edgevit_xxs", output="build/x")
    print(conversion.report.status)

Importing this package imports no library; a function is imported when it is first used (`docs/python.md` shows each).
"""

import importlib
from typing import TYPE_CHECKING

from edgevit_deploy.spec import VERSION, PreprocessChoice

if TYPE_CHECKING:
    from edgevit_deploy.api import (
        bench,
        convert,
        convert_all,
        energy,
        evaluate,
        evaluate_detection,
        evaluate_segmentation,
        load_model,
        targets,
        train_ablations,
        train_model,
        train_segmentation,
        verify,
    )
    from edgevit_deploy.model.variants import create_model

_FUNCTIONS = (
    "bench",
    "convert",
    "convert_all",
    "energy",
    "evaluate",
    "evaluate_detection",
    "evaluate_segmentation",
    "load_model",
    "targets",
    "train_ablations",
    "train_model",
    "train_segmentation",
    "verify",
)

__all__ = [
    "PreprocessChoice",
    "__version__",
    "bench",
    "convert",
    "convert_all",
    "create_model",
    "energy",
    "evaluate",
    "evaluate_detection",
    "evaluate_segmentation",
    "load_model",
    "targets",
    "train_ablations",
    "train_model",
    "train_segmentation",
    "verify",
]
__version__ = VERSION

_HOMES = dict.fromkeys(_FUNCTIONS, "edgevit_deploy.api")
_HOMES["create_model"] = "edgevit_deploy.model.variants"


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
