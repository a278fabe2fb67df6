"""Times that must agree, on a machine that may be busy with something else; only nightly tests compare times at all."""

from collections.abc import Callable

ATTEMPTS = 5


def agrees_once(measure: Callable[[], tuple[float, float]], low: float, high: float) -> bool:
    """Say whether one time lies between `low` and `high` times another in one of several attempts.

    What else runs on a machine can spoil any single attempt; a wrong unit, a missing division or an operation that is left
    out spoils all of them.
    """
    return any(low * whole < part < high * whole for part, whole in (measure() for _ in range(ATTEMPTS)))
