"""How far a training is and how long it will still take, as a line."""

import time

from edgevit_deploy.train.engine import Engine
from edgevit_deploy.train.order import Segment


class Remaining:
    """Foresees the time that is left from the time that updates of each size have taken in this process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.begun = engine.update
        self.started_s = time.monotonic()

    def line(self, segment: Segment) -> str:
        """Return where the training is."""
        engine, order = self.engine, self.engine.order
        seconds = time.monotonic() - self.started_s
        done = self._cost(self.begun, engine.update)
        left_s = seconds * self._cost(engine.update, order.updates) / max(1e-9, done)
        images_per_s = (engine.update - self.begun) * order.recipe.batch_size / max(1e-9, seconds)
        return (
            f"epoch {engine.update / order.updates_per_epoch:.2f} of {order.recipe.epochs:g} at {segment.image_size} pixels, "
            f"{images_per_s:.0f} images/s, {_duration(left_s)} left"
        )

    def _cost(self, first: int, stop: int) -> float:
        """Return what updates cost, in pixels of a side squared."""
        order = self.engine.order
        small = max(0, min(stop, order.small_updates) - first)
        return float(small * order.recipe.small_image_size**2 + (stop - first - small) * order.recipe.image_size**2)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
