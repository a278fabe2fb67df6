"""edgevit-deploy: from an EdgeViT checkpoint to verified deployment bundles.

`create_model` builds the network; everything else is reached by the command line (`edgevit-deploy --help`). Importing
this package imports no library.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgevit_deploy.model.variants import create_model

__all__ = ["__version__", "create_model"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "create_model":
        from edgevit_deploy.model.variants import create_model

        return create_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
