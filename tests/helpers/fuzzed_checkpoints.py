"""The grammar of fuzzed checkpoints: wrappers, prefixes, what stands beside the weights, faults in them, and damaged files."""

import argparse
import io
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from tests.helpers.checkpoints import Malice, foreign_code
from tests.helpers.small import tiny_network

State = dict[str, Tensor]

PREFIXES = ("", "", "", "module.", "model.", "backbone.", "net.encoder.", "_orig_mod.", "module._orig_mod.")
SEGMENTS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module")
IN_PYTORCH_ALONE = ("the same values", "quantised")
CONTAINERS = ("zip", "zip", "zip", "legacy", "safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A file: its bytes, and what is known of it.

    Attributes:
        content: of the file.
        what: was done to it.
        state: the tensors that must be read if anything is; None where nothing is known.
        read: whether it must be read (True), must be refused (False), or either (None).
    """

    content: bytes
    what: str
    state: State | None
    read: bool | None

    def __repr__(self) -> str:
        """Say what it is; its bytes are no help."""
        return f"Saved({self.what}, {len(self.content)} bytes)"


@cache
def tiny_state() -> State:
    return tiny_network(seed=0).state_dict()


class Call:
    """Pickles as a call of one of PyTorch's functions with other arguments than PyTorch's."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def rebuilt(*arguments: object) -> Call:
    return Call(torch._utils._rebuild_tensor_v2, torch.zeros(4)._typed_storage(), *arguments)


CLAIMS = (
    rebuilt(0, (5,), (1,), False, {}),
    rebuilt(3, (2,), (1,), False, {}),
    rebuilt(0, (10**7,), (1,), False, {}),
    rebuilt(0, (2**40,), (1,), False, {}),
    rebuilt(0, (2**47, 2**47), (0, 0), False, {}),
    rebuilt(3, (4,), (-1,), False, {}),
    rebuilt(0, (2, 2), (2**40, 1), False, {}),
    rebuilt(0, (1.5,), (1,), False, {}),
    rebuilt(-1, (2,), (1,), False, {}),
)
"""Tensors that claim more than their storage has."""


def wrapped(random: Random, state: State, beside: object) -> object:
    """What a trainer puts around weights."""
    return random.choice(
        (
            lambda: {"model_state_dict": state, "optimizer_state_dict": {"state": beside}, "epoch": 3, "loss": torch.tensor(0.5)},
            lambda: {"model": state, "args": argparse.Namespace(lr=0.1, input_size=32, trap=beside), "epoch": 300},
            lambda: {"state_dict": state, "pytorch-lightning_version": "2.4.0", "hyper_parameters": beside, "loops": {}},
            lambda: {"module": state, "ds_config": {"a": beside}, "param_shapes": [OrderedDict(a=torch.Size([1]))]},
            lambda: {"state_dict": {}, "state_dict_ema": state, "arch": "edgevit", "args": beside},
            lambda: {"weights": [{"deep": {"net": state}}], "more": beside},
            lambda: state | {"n_averaged": torch.tensor(3)},
            lambda: state | {"total_ops": torch.zeros(1)} if beside is None else {"net": state, 7: beside},
            lambda: OrderedDict(state),
            lambda: state,
        )
    )()


def foreign(random: Random, trap: Path, define: Callable[..., type]) -> object:
    """An object that leaves a file where it is unpickled, somewhere in others that nobody can import."""
    malice = Malice(trap)
    holder = define("their_code.Config", dict)(trap=malice)
    return random.choice(
        (
            malice,
            [malice, {"a": (malice,)}],
            {malice: 1},
            {malice, 2},
            argparse.Namespace(a=argparse.Namespace(b=malice)),
            holder,
            {"\x1b[2J\u202e": [holder, "\ud800", b"\xff", 10**400, float("nan")]},
            define("os_like.System\x1b[2J", object)(),
        )
    )


def faulty(random: Random, state: State) -> tuple[str, State]:
    """Weights that are not those of a whole network."""
    key = random.choice([key for key, tensor in state.items() if tensor.numel() > 1])
    tensor = state[key]
    changes: dict[str, Callable[[], object]] = {
        "missing": lambda: state.pop(key),
        "another shape": lambda: state.update({key: torch.cat([tensor, tensor])}),
        "one axis more": lambda: state.update({key: tensor[None]}),
        "whole numbers": lambda: state.update({key: tensor.to(torch.int32)}),
        "complex": lambda: state.update({key: tensor.to(torch.complex64)}),
        "not finite": lambda: state.update({key: torch.full_like(tensor, random.choice((float("nan"), float("inf"))))}),
        "unknown inside": lambda: state.update({key.rpartition(".")[0] + ".extra\x1b[2J": torch.ones(2)}),
        "the same values": lambda: state.update({key: torch.ones(1).expand(tensor.shape)}),
        "quantised": lambda: state.update({key: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8)}),
        "sparse": lambda: state.update({key: tensor.to_sparse()}),
        "no tensor": lambda: state.update({key: "\x1b[31mpassed"}),
        "on no device": lambda: state.update({key: tensor.to("meta")}),
    }
    what = random.choice((*sorted(changes), "unknown inside", "unknown inside"))
    changes[what]()
    return f"{what}: {key}", state


def saved(random: Random, trap: Path) -> Saved:
    """One file."""
    state: State = dict(tiny_state())
    dtype = random.choice((torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16))
    state = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    expected = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    what, container = random.choice(("sound", "sound", "fault", "damage", "damage", "claim")), random.choice(CONTAINERS)
    said = what
    if what == "fault":
        said, state = faulty(random, state)
        container = "zip" if said.startswith(IN_PYTORCH_ALONE) else container
    prefix = random.choice(PREFIXES)
    named = {prefix + wrapped_key(random, key): tensor for key, tensor in state.items()}
    if prefix in ("model.", "backbone.", "net.encoder."):
        named["criterion.weight"] = torch.ones(3)
    said = f"{said}, {container}, {dtype}, prefix {prefix!r}"
    if container == "safetensors":
        content = in_safetensors(named)
    else:
        with foreign_code() as define:
            beside = foreign(random, trap, define) if random.random() < 0.7 else None
            tree = wrapped(random, named, beside)
            tree = {"model": tree, "more": random.choice(CLAIMS)} if what == "claim" else tree
            content = in_pytorch(tree, random.choice((2, 3, 4, 5)), zipped=container == "zip")
    if what == "damage":
        return Saved(content=damaged(random, content), what=said, state=expected if container == "zip" else None, read=None)
    refused = what == "fault" or (what == "claim" and container != "safetensors")
    return Saved(content=content, what=said, state=None if refused else expected, read=not refused)


def wrapped_key(random: Random, key: str) -> str:
    """A key with the segment of a wrapper in it, now and then."""
    if random.random() < 0.9:
        return key
    parts = key.split(".")
    parts.insert(random.randrange(len(parts)), random.choice(SEGMENTS))
    return ".".join(parts)


def in_pytorch(tree: object, protocol: int, *, zipped: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(tree, stream, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def in_safetensors(state: State) -> bytes:
    """The tensors that the format can hold; each has values of its own in it."""
    held = {key: tensor for key, tensor in state.items() if isinstance(tensor, Tensor) and tensor.layout == torch.strided}
    return safetensors_bytes({key: tensor.clone() for key, tensor in held.items() if tensor.device.type == "cpu"})


def damaged(random: Random, content: bytes) -> bytes:
    """Changed bytes, most of them where the structure is: near the start and the end of the file."""
    data = bytearray(content)
    place = random.choice((random.randrange(len(data)), random.randrange(2**14), len(data) - 1 - random.randrange(2**14)))
    match random.randrange(4):
        case 0:
            for shift in range(random.choice((1, 1, 8, 64))):
                data[(place + 7 * shift) % len(data)] = random.choice((0, 0x7F, 0x80, 0xFF, random.randrange(256)))
        case 1:
            del data[place:]
        case 2:
            del data[place : place + random.choice((1, 8, 4096))]
        case _:
            data[place:place] = random.choice((b"\0" * 8, b"cos\nsystem\n(S'x'\ntR.", b"\x8a\xff" * 64, data[:512]))
    return bytes(data)
