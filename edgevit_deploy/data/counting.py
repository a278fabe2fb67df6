"""How far a folder of pictures has been run, told now and then."""

import math
import time
from collections.abc import Callable

PAUSE_S = 0.5
"""Between two counts: where there is no terminal each is a line."""


def now_and_then(step: Callable[[str], None], pause_s: float = PAUSE_S) -> Callable[[str], None]:
    """Return a step that passes on the first word, and then at most one in `pause_s`; the others are dropped."""
    told_s = -math.inf

    def tell(text: str) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= pause_s:
            told_s = time.monotonic()
            step(text)

    return tell
