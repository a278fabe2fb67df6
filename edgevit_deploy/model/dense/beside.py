"""Where in a file the head of a network stands: beside its own backbone, where several networks are in one dictionary."""

import re
from collections.abc import Iterable

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.infer import listed

OWN = re.compile(r"(^|\.)head\.$")
"""Of a place: our own networks have the head under `head.` and the backbone under `encoder.`."""


def places_of(keys: Iterable[str], mark: str) -> list[str]:
    """Return what stands before a mark, in each of the keys that end with it, each once."""
    return list(dict.fromkeys(key.removesuffix(mark) for key in keys if f".{key}".endswith(f".{mark}")))


def place_beside(places: Iterable[str], backbone: str) -> str | None:
    """Return the place of the head that belongs to a backbone; None where there is no head at all.

    It is the nearest place that the backbone is under too: beside `ema.encoder.` stands what is under `ema.` or `ema.head.`.

    Args:
        places: of all heads.
        backbone: what stands before the keys of the backbone that is read.

    Raises:
        UsageError: there are heads, and all are elsewhere; the weights of two networks are not put together.
    """
    found = list(places)
    beside = [place for place in found if backbone.startswith(OWN.sub(r"\1", place))]
    if found and not beside:
        raise UsageError(
            f"the backbone is under `{backbone}` and no head beside it, only under {listed(f'`{place}`' for place in found)}: "
            "another network's; save one network with its head"
        )
    return max(beside, key=len, default=None)
