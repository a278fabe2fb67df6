"""What stands for names and objects of a pickle that nobody imports and nobody makes."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

MAX_KEY_PARTS = 16


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a pickle names, as `module.name`; nobody looked whether there is one."""

    text: str


@dataclass(slots=True, eq=False, repr=False)
class StandIn:
    """What stands for an object that was not made.

    Attributes:
        name: of the class or function that would have made it.
        arguments: of that call.
        state: its attributes, for the usual class; None when the pickle sets none.
        entries: what would have been set in it by key, a dictionary's items for example.
        items: what would have been appended or added to it.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    entries: list[tuple[Any, Any]] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)

    @property
    def is_tensor(self) -> bool:
        """Whether it stands for a tensor that has other values than its storage, or none."""
        return self.name.startswith(("torch._utils._rebuild_", "torch._tensor._rebuild_"))


def as_key(value: object) -> object:
    """Return what stands for a value as a key: itself, if its hash is soon found.

    The hash of tuples in tuples takes for ever when each is used twice by the next, and that of a long number or tuple is found
    anew each time; such a key is kept in a `StandIn`.
    """
    parts = value if isinstance(value, tuple) else (value,)
    plain = len(parts) <= MAX_KEY_PARTS and all(map(_is_soon_hashed, parts))
    return value if plain else StandIn(type(value).__name__, (value,))


def _is_soon_hashed(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= 64
    return isinstance(value, str | bytes | float | Name | StandIn | Tensor | None)
