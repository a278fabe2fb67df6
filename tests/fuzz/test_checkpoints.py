"""Checkpoints of strangers: each is read exactly or refused in one line, and nothing in one is executed."""

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st

from edgevit_deploy.commands import console
from edgevit_deploy.model import checkpoint, containers, pickled_tensors
from edgevit_deploy.model.checkpoint import read_checkpoint
from tests.helpers.fuzzed_checkpoints import Saved, saved
from tests.helpers.fuzzing import Asker, expect, must_find, seek, varied

pytestmark = pytest.mark.slow

EXAMPLES = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One file at a time, and a place where what is executed leaves something."""

    asker: Asker

    @property
    def files(self) -> st.SearchStrategy[Saved]:
        trap = self.asker.root / "executed"
        return varied(lambda random: saved(random, trap))

    def check(self, file: Saved) -> None:
        path = Path("weights.pth")
        path.write_bytes(file.content)
        answer = self.asker.ask(["inspect", path.name, "--json"])
        expect(file.read is not True or answer.code == 0, f"a sound file was refused: {answer.errors}")
        expect(file.read is not False or answer.code == 2, "a faulty file was read")
        if answer.code == 0 and file.state is not None:
            found = read_checkpoint(path).state
            expect(list(found) == list(file.state), "other tensors were read")
            wrong = [key for key, tensor in file.state.items() if not torch.equal(found[key], tensor)]
            expect(not wrong, f"other values were read: {wrong[:3]}")


@pytest.fixture
def world(asker: Asker) -> World:
    return World(asker=asker)


def test_any_checkpoint_is_read_exactly_or_refused(world: World) -> None:
    seek(world.files, world.check, EXAMPLES)


def believed(storage: Any, dtype: torch.dtype, offset: int, size: Any, stride: Any) -> torch.Tensor:
    """Take memory for what is claimed; torch alone would have a check of its own."""
    if math.prod(size) <= storage.data.nbytes() // dtype.itemsize:
        return torch.empty(0, dtype=dtype).set_(storage.data, offset, size, stride)
    return torch.zeros(size)


def executing(file: Any) -> tuple[object, tuple[str, ...]]:
    return torch.load(file, map_location="cpu", weights_only=False), ()


CURES = {
    "nothing is executed": (containers, "_read_zip", executing, "files were changed or left|raised"),
    "nothing of the parser gets out": (containers, "_parsing", lambda kind: contextlib.nullcontext(), "raised"),
    "only whole weights are read": (checkpoint, "refuse_incomplete", lambda *_: None, "a faulty file was read|raised"),
    "sizes are those of the storage": (pickled_tensors, "_tensor", believed, "a faulty file was read|memory"),
    "what is said is shown, not obeyed": (console, "printable", str, "a terminal would obey"),
    "values are kept": (
        checkpoint,
        "_converted",
        lambda name, counter, stored: torch.zeros_like(stored),
        "other values were read",
    ),
}
"""Cures by what they do: where each is, what stands there without it, and what is found then."""


@pytest.mark.parametrize("cure", CURES)
def test_without_the_cure_a_checkpoint_is_found(cure: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, instead, found = CURES[cure]
    monkeypatch.setattr(module, name, instead)
    must_find(world.files, world.check, EXAMPLES, found)
