"""Checkpoint files for tests: good ones by seed, changed ones, and the message of a refusal."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from edgevit_deploy import create_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.checkpoint import Checkpoint, read_checkpoint
from edgevit_deploy.model.random_weights import randomise

ASSUMED = (
    "not in the file, so assumed: image size 224x224, crop ratio 0.875 (256x256 cut to 224x224), resize mode cover, "
    "interpolation bicubic, mean 0.485,0.456,0.406, std 0.229,0.224,0.225; to say otherwise: --image-size, --crop-ratio, "
    "--resize-mode, --interpolation, --mean, --std"
)
HEAD = "head.weight"

NEITHER = "neither a PyTorch checkpoint nor safetensors:"
NO_TENSORS = "has entries among its weights that are no tensors"
MISFIT = "not the weights of an EdgeViT (saic-fi names):"


def assumed_at(side: int) -> str:
    """What is said of a file that tells its image size alone."""
    resized = side * 256 // 224
    return (
        f"not in the file, so assumed for {side}x{side} pixels: crop ratio 0.875 ({resized}x{resized} cut to {side}x{side}), "
        "resize mode cover, interpolation bicubic, mean 0.485,0.456,0.406, std 0.229,0.224,0.225; to say otherwise: "
        "--crop-ratio, --resize-mode, --interpolation, --mean, --std"
    )


@cache
def seeded_state(variant: str = "edgevit_xxs", seed: int = 0) -> dict[str, Tensor]:
    network = create_model(variant, num_classes=10)
    randomise(network, seed)
    return network.state_dict()


def weights(**changes: Tensor | None) -> dict[str, Tensor]:
    """A good state with some tensors replaced, or left out where None (`__` stands for a dot)."""
    state = seeded_state() | {key.replace("__", "."): tensor for key, tensor in changes.items()}
    return {key: tensor for key, tensor in state.items() if tensor is not None}


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def read(content: object, folder: Path) -> Checkpoint:
    return read_checkpoint(saved(content, folder / "weights.pth"))


class Malice:
    """Creates a folder when it is unpickled."""

    name = "os.makedirs"

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[object, ...]:
        return (os.makedirs, (str(self.trap), 0o777, True))


Define = Callable[[str, type], type]
"""Makes a class from `module.name` and its base."""


@contextmanager
def foreign_code() -> Iterator[Define]:
    """Let classes of modules that nobody can import be saved in this context; behind it, reading cannot import them."""
    made: list[str] = []

    def define(full_name: str, base: type = object) -> type:
        module, _, name = full_name.rpartition(".")
        kind = type(name, (base,), {"__module__": module})
        sys.modules[module] = ModuleType(module)
        setattr(sys.modules[module], name, kind)
        made.append(module)
        return kind

    try:
        yield define
    finally:
        for module in made:
            del sys.modules[module]


def refusal(path: Path) -> str:
    """Return the message with which a file is refused: one line, with the path in front, exit code 2."""
    with pytest.raises(UsageError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message.removeprefix(f"{path}: ")


def assert_state(checkpoint: Checkpoint, expected: dict[str, Tensor]) -> None:
    assert list(checkpoint.state) == list(expected)
    assert all(torch.equal(checkpoint.state[key], tensor) for key, tensor in expected.items())
