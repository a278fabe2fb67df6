"""Where a file holds tensors: every dictionary and every network in it, found by structure and not by a list of names."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import Tensor

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.inert import StandIn

MAX_DEPTH = 16
MAX_MODULES = 2**14
MAX_NETWORKS = 64
MAX_MODULE_DEPTH = 32

Step = tuple[tuple[str, ...], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One dictionary with tensors.

    Attributes:
        path: keys and attributes that lead to it from the top of the file.
        entries: everything in it; of a whole network what its `state_dict()` would be.
    """

    path: tuple[str, ...]
    entries: Mapping[Any, object]

    @property
    def name(self) -> str:
        """The path as one word."""
        return ".".join(self.path)


def is_tensor(value: object) -> bool:
    """Say whether a value is a tensor, of whatever kind."""
    return isinstance(value, Tensor) or (isinstance(value, StandIn) and value.is_tensor)


def find_places(tree: object) -> Iterator[Place]:
    """Yield every dictionary that has tensors, the outer ones first.

    Raises:
        UsageError: a network whose modules have no end.
    """
    seen: dict[int, object] = {}  # with what it was: the number of an object that is gone is given to another one
    networks = 0
    queue: deque[Step] = deque([((), tree)])
    while queue:
        path, value = queue.popleft()
        if id(value) in seen or len(path) > MAX_DEPTH:
            continue
        seen[id(value)] = value
        if _is_module(value):
            networks += 1
            if networks > MAX_NETWORKS:
                raise UsageError(f"holds more than {MAX_NETWORKS} networks; save model.state_dict() of one")
            yield from _as_place(path, module_state(value))
        elif isinstance(value, StandIn):
            parts = (value.state, dict(value.entries), value.arguments, value.items)
            queue.extend((path, part) for part in parts if _may_hold(part))
        else:
            if isinstance(value, dict):
                yield from _as_place(path, value)
            queue.extend((path + step, child) for step, child in _children(value))


def _as_place(path: tuple[str, ...], entries: Mapping[Any, object]) -> Iterator[Place]:
    if any(map(is_tensor, entries.values())):
        yield Place(path=path, entries=entries)


def fields(value: object) -> Mapping[Any, object]:
    """Return the entries of a dictionary, or the attributes and entries of what stands for an object."""
    if isinstance(value, dict):
        return value
    if isinstance(value, StandIn):
        return {**(value.state if isinstance(value.state, dict) else {}), **dict(value.entries)}
    return {}


def module_state(module: StandIn) -> dict[str, object]:
    """Return what `state_dict()` of a pickled network would, by the attributes in which every `nn.Module` keeps it.

    Raises:
        UsageError: more modules, or deeper ones, than any EdgeViT has.
    """
    state: dict[str, object] = {}
    todo: list[tuple[tuple[str, ...], StandIn]] = [((), module)]
    for _ in range(MAX_MODULES):
        if not todo:
            return state
        path, current = todo.pop()
        if len(path) > MAX_MODULE_DEPTH:
            break
        attributes = current.state
        transient = _texts(attributes.get("_non_persistent_buffers_set"))
        for name, tensor in (*_group(attributes, "_parameters"), *_group(attributes, "_buffers")):
            if tensor is not None and name not in transient:
                state[".".join((*path, name))] = tensor
        children = [((*path, name), child) for name, child in _group(attributes, "_modules") if _is_module(child)]
        todo.extend(reversed(children))
    raise UsageError(f"holds a network of more than {MAX_MODULES} modules, or modules that contain themselves; no EdgeViT has")


def _texts(values: object) -> set[str]:
    return {value for value in values if isinstance(value, str)} if isinstance(values, set | list | tuple) else set()


def _is_module(value: object) -> TypeGuard[StandIn]:
    if not isinstance(value, StandIn) or not isinstance(value.state, dict):
        return False
    return all(isinstance(value.state.get(group), dict) for group in ("_parameters", "_buffers", "_modules"))


def _group(attributes: Mapping[Any, object], name: str) -> list[tuple[str, object]]:
    group = attributes.get(name)
    return [(key, value) for key, value in group.items() if isinstance(key, str)] if isinstance(group, dict) else []


def _children(value: object) -> Iterator[Step]:
    """Yield what may hold a dictionary, and the step to it."""
    if isinstance(value, dict):
        for key, child in value.items():
            if _may_hold(child):
                yield (key if isinstance(key, str) else str(key) if isinstance(key, int) else "?",), child
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            if _may_hold(child):
                yield (str(index),), child


def _may_hold(value: object) -> bool:
    return isinstance(value, StandIn) or (isinstance(value, dict | list | tuple) and len(value) > 0)
