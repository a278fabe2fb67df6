"""Pickles, read without executing anything: no name in one is imported, and no object of one is called.

Trainers save their arguments, their configuration or the whole network beside the weights. `torch.load` either runs what such a
file names or refuses it. Here a name stays a `Name`, what would be made by calling one is a `StandIn` that keeps what it would
have been made of, and the few calls that tensors and dictionaries consist of are done by `pickled_tensors`, which checks what it
is told. All pickle protocols are read; the parts of `pickle._Unpickler` that only move values are used as they are.
"""

import pickle
from collections.abc import Callable
from typing import Any, Protocol

import torch

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.inert import Name, StandIn, as_key
from edgevit_deploy.model.pickled_tensors import CALLS, STORAGE_DTYPES, Storage

MAX_INSTRUCTIONS = 2_000_000
"""One of them makes an object of 220 bytes out of one byte in the file. Weights with both moments of Adam have about 30,000."""

MAX_NAME_CHARACTERS = 1000
MAX_STORAGE_PARTS = 6

MOVED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules that had another name in Python 2, whose names protocols 0 to 2 use."""

BuildStorage = Callable[[torch.dtype, str, int], torch.UntypedStorage]
"""From the type, the key and the number of the values; it checks that the file holds them."""


class PickleFile(Protocol):
    """What a pickle is read from: never more bytes than there are, however many are asked for."""

    def read(self, count: int, /) -> bytes:
        """Return the next bytes."""
        ...

    def readline(self) -> bytes:
        """Return the bytes up to the next line break, which is one of them."""
        ...


class Unpickler(pickle._Unpickler):
    """Reads one pickle; `foreign` then holds the names that would have been called."""

    # Attributes of the base class, which the type stubs leave out.
    stack: list[Any]
    proto: int
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    append: Callable[[Any], None]  # to the stack above the last mark: another method after `pop_mark`
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: PickleFile, build_storage: BuildStorage | None = None) -> None:
        super().__init__(file, encoding="utf-8")
        self.foreign: set[str] = set()
        self._build_storage = build_storage
        self.dispatch = _Counted(DISPATCH)  # type: ignore[misc]  # the base class looks it up by the instance, once a load

    def find_class(self, module: str, name: str) -> Name:
        """Return the name as it is; nothing is imported."""
        if len(module) + len(name) > MAX_NAME_CHARACTERS:
            raise pickle.UnpicklingError(f"a name of {len(module) + len(name)} characters")
        return Name(f"{MOVED.get(module, module) if self.proto < 3 else module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        """Return a storage of the file, or the class that stands in an old file before its source text."""
        if not isinstance(pid, tuple) or len(pid) > MAX_STORAGE_PARTS:
            raise pickle.UnpicklingError("something else than a storage lies outside of the pickle")
        match pid:
            case ("module", Name() as name, *_):
                return name
            case ("storage", Name(text=text), str(key), _, int(count), *views) if count >= 0 and not any(views):
                dtype = STORAGE_DTYPES.get(text)
                if dtype is None or self._build_storage is None:
                    raise pickle.UnpicklingError(f"a storage of unknown type {text}")
                return Storage(data=self._build_storage(dtype, key, count), dtype=dtype)
        raise pickle.UnpicklingError("something else than a storage lies outside of the pickle")

    def load_reduce(self) -> None:
        """Call a function."""
        arguments = self.stack.pop()
        self.stack[-1] = self._called(self.stack[-1], arguments)

    def load_newobj(self) -> None:
        """Make an object of a class."""
        arguments = self.stack.pop()
        self.stack[-1] = self._called(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        """Make an object of a class, with keyword arguments."""
        keywords = self.stack.pop()
        arguments = self.stack.pop()
        self.stack[-1] = self._called(self.stack[-1], (arguments, keywords))

    def load_inst(self) -> None:
        """Make an object of a class that is named here, as protocol 0 does."""
        module, name = (self.readline()[:-1].decode("utf-8") for _ in range(2))
        arguments = tuple(self.pop_mark())
        self.append(self._called(self.find_class(module, name), arguments))

    def load_obj(self) -> None:
        """Make an object of a class that lies below its arguments, as protocol 1 does."""
        called, *arguments = self.pop_mark()
        self.append(self._called(called, tuple(arguments)))

    def load_build(self) -> None:
        """Set the attributes of an object; a dictionary has none that matter (`_metadata` of a state)."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, StandIn):
            target.state = state
        elif type(target) is not dict:
            raise pickle.UnpicklingError(f"attributes for a {type(target).__name__}")

    def load_append(self) -> None:
        """Append one value."""
        value = self.stack.pop()
        self._extend([value])

    def load_appends(self) -> None:
        """Append the values above the mark."""
        self._extend(self.pop_mark())

    def load_setitem(self) -> None:
        """Set one entry."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set_entries([key, value])

    def load_setitems(self) -> None:
        """Set the entries above the mark."""
        self._set_entries(self.pop_mark())

    def load_additems(self) -> None:
        """Add the values above the mark to a set."""
        items, target = self.pop_mark(), self.stack[-1]
        if type(target) is set:
            target.update(map(as_key, items))
        else:
            self._extend(items)

    def load_frozenset(self) -> None:
        """Make a set of the values above the mark."""
        items = self.pop_mark()
        self.append(frozenset(map(as_key, items)))

    def load_dict(self) -> None:
        """Make a dictionary of the values above the mark."""
        items = self.pop_mark()
        self.append({})
        self._set_entries(items)

    def load_bytearray8(self) -> None:
        """Read bytes; the base class would first take as much memory as the file claims."""
        length = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(length)))

    def _called(self, called: object, arguments: tuple[Any, ...]) -> Any:
        if not isinstance(called, Name | StandIn) or not isinstance(arguments, tuple):
            raise pickle.UnpicklingError(f"a call of a {type(called).__name__}")
        if isinstance(called, StandIn):
            return StandIn(called.name, arguments)
        if called.text == "copyreg._reconstructor" and isinstance(arguments[0], Name):
            called = arguments[0]
        made = CALLS[called.text](*arguments) if called.text in CALLS else None
        if made is None:
            self.foreign.add(called.text)
            return StandIn(called.text, arguments)
        return made

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(values)
        elif isinstance(target, StandIn):
            target.items.extend(values)
        else:
            raise pickle.UnpicklingError(f"values appended to a {type(target).__name__}")

    def _set_entries(self, values: list[Any]) -> None:
        target = self.stack[-1]
        pairs = zip(values[::2], values[1::2], strict=True)
        if type(target) is dict:
            target.update((as_key(key), value) for key, value in pairs)
        elif isinstance(target, StandIn):
            target.entries.extend((as_key(key), value) for key, value in pairs)
        else:
            raise pickle.UnpicklingError(f"entries set in a {type(target).__name__}")


class _Counted(dict[int, Callable[[Any], None]]):
    """The instructions of a pickle, of which no more than a bounded number are carried out."""

    left = MAX_INSTRUCTIONS

    def __getitem__(self, instruction: int) -> Callable[[Any], None]:
        self.left -= 1
        if self.left < 0:
            raise UsageError(f"holds more than {MAX_INSTRUCTIONS} values beside its tensors; save model.state_dict() alone")
        found = self.get(instruction)
        if found is None:
            raise pickle.UnpicklingError(f"instruction {instruction}, which no checkpoint has")
        return found


REPLACED = ("reduce", "newobj", "newobj_ex", "inst", "obj", "build", "append", "appends", "setitem", "setitems", "additems",
            "frozenset", "dict", "bytearray8")  # fmt: skip
REFUSED = ("ext1", "ext2", "ext4", "next_buffer", "readonly_buffer")
"""Registered extensions name classes; buffers lie outside of the file."""


def _dispatch() -> dict[int, Callable[[Any], None]]:
    own = {f"load_{name}" for name in REPLACED}
    refused = {f"load_{name}" for name in REFUSED}
    return {
        instruction: getattr(Unpickler, load.__name__) if load.__name__ in own else load
        for instruction, load in pickle._Unpickler.dispatch.items()
        if load.__name__ not in refused
    }


DISPATCH = _dispatch()
