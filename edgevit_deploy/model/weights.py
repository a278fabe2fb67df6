"""The weights in a file: which of its dictionaries they are, and their tensors under the reference keys.

What else stands there is ignored only if it cannot belong to the network: it is outside of the prefix that the network's own keys
share, or it is a counter that a tool is known to leave behind. Each thing that is chosen, removed or ignored is one note.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.containers import Contents, read_contents
from edgevit_deploy.model.dialects import WRAPPER_SEGMENTS, Dialect, find_dialect, matching_dialect, without_wrappers
from edgevit_deploy.model.extras import Extras
from edgevit_deploy.model.inert import StandIn
from edgevit_deploy.model.infer import listed
from edgevit_deploy.model.places import Place, fields, find_places, is_tensor
from edgevit_deploy.spec import MAX_BLOCKS

WRAPPERS = ("state_dict_ema", "state_dict", "state", "model", "model_ema", "ema")
"""Entries that hold weights; where a file has several, the first of these is taken and the others are named in the notes.

It is the choice of the program that wrote the file: timm evaluates `state_dict_ema` when its saver wrote one
(timm/models/_helpers.py, load_state_dict); the published trainer evaluates `model`, not `model_ema` (saic-fi/edgevit
src/main.py, --eval). `state_dict` is also mmcv's and EasyCV's, `state` Birder's. Under other names, the most complete weights are
taken, and the first of those.
"""

AVERAGED = ("state_dict_ema", "model_ema", "ema")
COUNTERS = {"n_averaged": "AveragedModel", "total_ops": "thop", "total_params": "thop"}
"""The last part of a key that no network has, and what left it behind."""

MAX_TENSORS = 2**15
"""More than any EdgeViT of at most 64 blocks a stage has, with thop's counters in each module."""

OBJECTS = ("args", "pretrained_cfg", "default_cfg")
"""Entries that may be objects; their attributes are what they say."""

SEQUENCE = re.compile(r"(head(?:\.\d+)+)\.(?:weight|bias)")
EXOTIC = {
    "torch._utils._rebuild_qtensor": "a quantised tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_tensor_v2": "a negated or conjugated tensor",
    "torch._utils._rebuild_tensor_v3": "a negated or conjugated tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a meta tensor, which has no values",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The tensors of one network.

    Attributes:
        known: reference key -> tensor.
        unknown: keys among the network's own that its dialect does not know.
        dialect: of the keys, with the prefix before them.
        extras: what the file holds beside the weights.
        notes: what was chosen, removed and ignored.
        others: what is not the dialect's among the network's own keys and beside them, by key without wrappers: a head for dense
            prediction, or nothing that belongs here.
        twice: of the keys of `others`, those that the file has with and without the name of a wrapper.
        ignored: of the notes, the one about what stands beside the network's own keys.
    """

    known: Mapping[str, Tensor]
    unknown: tuple[str, ...]
    others: Mapping[str, object]
    twice: frozenset[str]
    ignored: tuple[str, ...]
    dialect: Dialect
    extras: Extras
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    place: Place
    names: Mapping[str, str]  # key in the file -> key without wrappers, of everything but counters
    dialect: Dialect

    def rank(self) -> tuple[int, int]:
        """Order by the program that wrote the file, then by how much of a network it is."""
        name = self.place.path[0] if self.place.path else ""
        known = sum(self.dialect.to_reference(name) is not None for name in self.names.values())
        return WRAPPERS.index(name) if name in WRAPPERS else len(WRAPPERS), -known


def find_weights(contents: Contents, file: str) -> Weights:
    """Find the weights of an EdgeViT, whatever is around them.

    Args:
        contents: of the file.
        file: its name, for the notes.

    Raises:
        UsageError: there are none, or there is something among them that is no real tensor or is there twice.
    """
    taken, *others = _candidates(contents.tree)
    tensors, notes, ignored = _own_tensors(taken)
    references = {key: taken.dialect.to_reference(taken.names[key]) for key in tensors}
    renamed = {reference: tensors[key] for key, reference in references.items() if reference is not None}
    known, head_notes = _with_plain_head(renamed, taken.dialect)
    foreign = [f"read without executing: {listed(contents.foreign)}"] if contents.foreign else []
    return Weights(
        known=known,
        unknown=tuple(key for key, reference in references.items() if reference is None),
        others={name: taken.place.entries[key] for key, name in taken.names.items() if references.get(key) is None},
        twice=frozenset(_twice(taken.names.values())),
        ignored=ignored,
        dialect=taken.dialect,
        extras=_extras(contents, taken.place),
        notes=(*_choice_notes(taken.place, [other.place for other in others], file), *notes, *ignored, *head_notes, *foreign),
    )


def extract_weights(source: str, name: str, target: str) -> None:
    """Write the weights that a file holds under a name into a file of their own.

    Raises:
        UsageError: unreadable file, or no weights of that name.
    """
    for candidate in _candidates(read_contents(Path(source)).tree):
        if candidate.place.name == name:
            torch.save({key: value for key, value in candidate.place.entries.items() if isinstance(value, Tensor)}, target)
            return
    raise UsageError(f"{source}: no weights under {name}")


def _candidates(tree: object) -> list[_Candidate]:
    """Return everything that may be the weights of an EdgeViT, the one to take first."""
    places = list(find_places(tree))
    small = [(place, _names(place)) for place in places if len(place.entries) <= MAX_TENSORS]
    found = [
        _Candidate(place=place, names=names, dialect=dialect)
        for place, names in small
        if (dialect := matching_dialect(list(names.values()))) is not None
    ]
    if found:
        return sorted(found, key=_Candidate.rank)
    if len(small) < len(places):
        raise UsageError(
            f"holds {max(len(place.entries) for place in places)} tensors in one dictionary; an EdgeViT of at most {MAX_BLOCKS} "
            f"blocks a stage has no more than {MAX_TENSORS}"
        )
    if not any(names for _, names in small):
        raise UsageError(f"holds {_described(tree)}; save model.state_dict()")
    _, names = max(small, key=lambda found: len(found[1]))
    find_dialect(names.values())
    raise AssertionError("a place that has a dialect is a candidate")


def _described(tree: object) -> str:
    if isinstance(tree, dict):
        names = listed(key for key in tree if isinstance(key, str))
        return f"no weights, only {names}" if names else "no weights"
    return f"a {tree.name if isinstance(tree, StandIn) else type(tree).__name__}, not a dictionary of weights"


def _names(place: Place) -> dict[str, str]:
    """Return each key and what it is without wrappers; counters are left out."""
    keys = (key for key, value in place.entries.items() if isinstance(key, str) and not _is_counter(key, value))
    return {key: without_wrappers(key) for key in keys}


def _is_counter(key: str, value: object) -> bool:
    return key.rpartition(".")[2] in COUNTERS and isinstance(value, Tensor) and value.numel() == 1


def _own_tensors(taken: _Candidate) -> tuple[dict[str, Tensor], list[str], tuple[str, ...]]:
    """Return the tensors at the network's own prefix, under the file's keys, notes about them, and one about the rest."""
    own = {key: taken.place.entries[key] for key, name in taken.names.items() if name.startswith(taken.dialect.place)}
    beside = [key for key in taken.names if key not in own]
    _refuse_others(own, [key for key in taken.place.entries if not isinstance(key, str)])
    refuse_twice(_twice(taken.names[key] for key in own))
    counters = [key for key in taken.place.entries if isinstance(key, str) and key not in taken.names]
    notes = [*_wrapper_notes(own, taken.names), *_counter_notes(counters)]
    if taken.dialect.place:
        notes.insert(0, f"prefix `{taken.dialect.place}` removed")
    what = "tensors" if all(is_tensor(taken.place.entries[key]) for key in beside) else "entries"
    ignored = (f"{len(beside)} {what} beside the network ignored: {listed(beside)}",) if beside else ()
    return {key: value for key, value in own.items() if isinstance(value, Tensor)}, notes, ignored


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def refuse_twice(names: Sequence[str]) -> None:
    """Refuse keys that a file has with and without the name of a wrapper.

    Raises:
        UsageError: naming the first.
    """
    if names:
        raise UsageError(f"{names[0]} is in it twice, with and without the name of a wrapper; save one of them")


def _refuse_others(own: Mapping[str, object], keys: list[object]) -> None:
    """Refuse what is no tensor of real numbers, and keys that are no text."""
    for key, value in own.items():
        if isinstance(value, StandIn) and value.is_tensor:
            described = EXOTIC.get(value.name, "a tensor of a class of its own")
            raise UsageError(f"{key} is stored as {described}; give unquantised real weights")
    others = [*(key for key, value in own.items() if not is_tensor(value)), *(repr(key)[:40] for key in keys)]
    if others:
        raise UsageError(f"has entries among its weights that are no tensors: {listed(others)}; save model.state_dict()")


def _wrapper_notes(own: Iterable[str], names: Mapping[str, str]) -> Iterator[str]:
    changed = [key for key in own if names[key] != key]
    wrappers = [f"`{wrapper}.`" for wrapper in WRAPPER_SEGMENTS if any(wrapper in key.split(".") for key in changed)]
    if changed:
        yield f"wrapper names {', '.join(wrappers)} removed from {len(changed)} keys"


def _counter_notes(counters: list[str]) -> Iterator[str]:
    for tool, count in Counter(COUNTERS[key.rpartition(".")[2]] for key in counters).items():
        mine = [name for name, left_by in COUNTERS.items() if left_by == tool]
        yield f"{tool}'s counters ignored: {count} of {', '.join(mine)}"


def _with_plain_head(known: Mapping[str, Tensor], dialect: Dialect) -> tuple[Mapping[str, Tensor], list[str]]:
    """Take the one linear layer of a head that is a sequence for the head."""
    parts = [key for key in known if key.startswith("head.")]
    if "head.weight" in parts or parts in ([], ["head.bias"]):
        return known, []
    layers = {match[1] if (match := SEQUENCE.fullmatch(key)) else key for key in parts}
    layer = layers.pop()
    if layers or f"{layer}.weight" not in parts or known[f"{layer}.weight"].ndim != 2:
        names = listed(str(dialect.to_file(key)) for key in parts)
        raise UsageError(f"its head is more than one linear layer: {names}; give a classifier whose head is one")
    plain = {f"head.{key.removeprefix(layer)[1:]}" if key in parts else key: tensor for key, tensor in known.items()}
    return plain, [f"the head is a sequence; its linear layer `{dialect.to_file(layer)}` is taken, the rest of it for dropout"]


def _extras(contents: Contents, place: Place) -> Extras:
    """Return what stands beside the weights, objects as their attributes; of a whole network its configuration too."""
    tree, taken = contents.tree, place.path[0] if place.path else ""
    network = tree.get(taken) if taken and isinstance(tree, dict) else tree
    own = fields(network) if isinstance(network, StandIn) else {}
    beside = tree if taken and isinstance(tree, dict) else contents.metadata
    found = {key: value for key, value in own.items() if key in OBJECTS} | {
        key: value for key, value in beside.items() if isinstance(key, str) and key != taken
    }
    return {key: fields(value) if key in OBJECTS else value for key, value in found.items()}


def _choice_notes(taken: Place, others: list[Place], file: str) -> Iterator[str]:
    if taken.path[:1] in [(name,) for name in AVERAGED]:
        yield f"averaged (EMA) weights taken, from `{taken.name}`"
    elif taken.path and taken.name not in WRAPPERS:
        yield f"weights found under `{taken.name}`"
    for other in others:
        code = f"from edgevit_deploy.model.weights import extract_weights as f; f({file!r}, {other.name!r}, 'other.pth')"
        yield f"`{taken.name}` taken; for `{other.name}` instead: python -c {shlex.quote(code)}"
