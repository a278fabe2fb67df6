"""Checkpoint files that are refused: no checkpoint, damaged, garbled, or with objects that would run code."""

import argparse
import io
import os
import pickle
import random
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edgevit_deploy import create_model
from edgevit_deploy.model.checkpoint import read_checkpoint
from tests.helpers.checkpoints import NEITHER, NO_TENSORS, assert_state, refusal, saved, seeded_state


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file; give a checkpoint"),
        (lambda path: path.mkdir(), "not a file; give a checkpoint"),
        (lambda path: path.touch(), "the file is empty; copy or download it again"),
        (lambda path: path.write_text("<!DOCTYPE html><title>404"), f"{NEITHER} it begins with b'<!DOCTYPE html>"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), f"{NEITHER} it begins with b'version https"),
        (lambda path: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path), "a TorchScript program, not a checkpoint"),
        (lambda path: zipfile.ZipFile(path, "w").writestr("a/b.txt", "hello"), "a zip archive, but not one that torch.save"),
        (lambda path: path.write_bytes(pickle.dumps({"w": np.zeros(3)})), "a plain Python pickle; reading one executes code"),
        (lambda path: saved([torch.zeros(2)], path), "holds a list, not a dictionary of weights"),
        (lambda path: saved(torch.zeros(2), path), "holds a Tensor, not a dictionary of weights"),
        (lambda path: saved({"epoch": 3, "optimizer": {}}, path), "holds no weights, only epoch, optimizer"),
        (lambda path: saved({}, path), "holds no weights"),
        (lambda path: saved({**seeded_state(), "epoch": 3}, path), f"{NO_TENSORS}: epoch"),
        (lambda path: saved({"model": {**seeded_state(), 7: torch.zeros(1)}}, path), f"{NO_TENSORS}: 7"),
    ],
)  # fmt: skip
def test_files_that_are_no_checkpoint(make: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    make(path)
    assert refusal(path).startswith(said)


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


def flipped_header(data: bytes) -> bytes:
    return data[:20] + b"\x00" + data[21:]


@pytest.mark.parametrize(
    ("form", "damage", "said"),
    [
        ("zip", truncated, "truncated or damaged zip archive (BadZipFile"),
        ("zip", flipped, "damaged: weights/data/"),
        ("legacy", truncated, "truncated or damaged PyTorch file"),
        ("legacy", flipped_header, "truncated or damaged PyTorch file"),
        ("safetensors", truncated, "truncated or damaged safetensors"),
        ("safetensors", flipped_header, "truncated or damaged safetensors"),
    ],
)
def test_damaged_files(form: str, damage: Callable[[bytes], bytes], said: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if form == "safetensors":
        save_file(seeded_state(), path)
    else:
        torch.save(seeded_state(), path, _use_new_zipfile_serialization=form == "zip")
    path.write_bytes(damage(path.read_bytes()))
    message = refusal(path)
    assert message.startswith(said)
    assert message.endswith("copy or download it again")


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_no_garbled_file_gives_more_than_one_line(form: str, tmp_path: Path) -> None:
    """400 seeded mutations of a small file: each is refused as bad input; none escapes as another exception."""
    small = {"patch_embed1.proj.weight": torch.ones(36, 3, 4, 4), "head.weight": torch.ones(10, 8)}
    path = tmp_path / "weights.pth"
    if form == "safetensors":
        save_file(small, path, metadata={"signature": "{}"})
    else:
        torch.save({"model": small, "epoch": 3}, path, _use_new_zipfile_serialization=form == "zip")
    data = path.read_bytes()
    chance = random.Random(form)
    for _ in range(400):
        garbled = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            garbled[chance.randrange(len(data) if chance.random() < 0.3 else 600)] = chance.randrange(256)
        path.write_bytes(garbled[: chance.randrange(len(data))] if chance.random() < 0.2 else garbled)
        refusal(path)


class Malice:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def malicious_bytes(form: str, trap: Path) -> bytes:
    buffer = io.BytesIO()
    if form == "pickle":
        pickle.dump({"model": Malice(trap)}, buffer)
    else:
        content = {"model": seeded_state(), "args": Malice(trap)}
        torch.save(content, buffer, _use_new_zipfile_serialization=form == "zip")
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_pickled_code_is_refused_and_not_run(form: str, tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / "weights.pth"
    path.write_bytes(malicious_bytes(form, trap))
    message = refusal(path)
    assert not trap.exists()
    if form == "pickle":
        assert message.startswith("a plain Python pickle")
    else:
        assert message.startswith(f"holds Python objects ({os.mkdir.__module__}.mkdir) that need code to be executed")


def test_the_trap_works(tmp_path: Path) -> None:
    """The control of the test above: whoever does unpickle that file springs the trap."""
    pickle.loads(malicious_bytes("pickle", tmp_path / "trap"))
    assert (tmp_path / "trap").is_dir()


@pytest.mark.parametrize("content", ["training arguments", pytest.param("whole module", marks=pytest.mark.slow)])
def test_the_command_that_resaves_weights_works(content: str, tmp_path: Path) -> None:
    """The published trainer and timm's save their argparse.Namespace; its owner can resave such a file as the message says."""
    path = tmp_path / "my weights.pth"
    if content == "training arguments":
        saved({"model": seeded_state(), "optimizer": {}, "epoch": 1, "args": argparse.Namespace(model="edgevit_xxs")}, path)
        assert "(argparse.Namespace)" in refusal(path)
    else:
        network = create_model("edgevit_xxs", num_classes=10)
        network.load_state_dict(seeded_state())
        saved(network, path)
        assert "(edgevit_deploy.model.edgevit.EdgeViT)" in refusal(path)
    command = shlex.split(refusal(path).partition("save its weights alone: ")[2])
    assert command[0] == "python"
    subprocess.run([sys.executable, *command[1:]], check=True)
    assert_state(read_checkpoint(Path(command[-1])), seeded_state())
