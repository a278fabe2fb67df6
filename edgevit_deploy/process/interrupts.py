"""Ctrl-C and SIGTERM: obeyed even where a library swallows them, and never between two renames.

Python raises KeyboardInterrupt wherever the main thread happens to be. Inside a destructor or a callback from native code it is
printed or dropped there, and the program would go on, write its bundle and report success.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """What has arrived so far; the program has one, `INTERRUPTS`."""

    def __init__(self) -> None:
        self.arrived = False

    def listen(self) -> None:
        """From now on remember both signals and raise KeyboardInterrupt; for a program's main thread."""
        self.arrived = False
        for number in SIGNALS:
            signal.signal(number, self._raise)

    def raise_if_arrived(self) -> None:
        """Raise what was swallowed; call it before anything that cannot be taken back.

        Raises:
            KeyboardInterrupt: a signal has arrived at any time since `listen`.
        """
        if self.arrived:
            raise KeyboardInterrupt

    def obeyed(self) -> None:
        """Forget what has arrived: the command waited for it, and has ended as it should."""
        self.arrived = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold both signals off for a moment, and raise afterwards if one arrived; only the main thread gets them at all.

        Within another such moment it is that one that ends later and raises.
        """
        held_already = signal.getsignal(signal.SIGINT) == self._remember
        if held_already or threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._remember) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        self.raise_if_arrived()

    def _remember(self, *_: object) -> None:
        self.arrived = True

    def _raise(self, *_: object) -> None:
        self.arrived = True
        raise KeyboardInterrupt


INTERRUPTS = Interrupts()
