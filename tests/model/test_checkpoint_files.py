"""Checkpoint files that are refused: no checkpoint, damaged or garbled."""

import argparse
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.helpers.checkpoints import NEITHER, NO_TENSORS, refusal, saved, seeded_state


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file; give a checkpoint"),
        (lambda path: path.mkdir(), "not a regular file; give a checkpoint"),
        (lambda path: path.touch(), "the file is empty; copy or download it again"),
        (lambda path: path.write_text("<!DOCTYPE html><title>404"), f"{NEITHER} it begins with b'<!DOCTYPE html>"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), f"{NEITHER} it begins with b'version https"),
        (lambda path: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path), "a TorchScript program, not a checkpoint"),
        (lambda path: zipfile.ZipFile(path, "w").writestr("a/b.txt", "hello"), "a zip archive, but not one that torch.save"),
        (lambda path: path.write_bytes(pickle.dumps({"w": np.zeros(3)})), "a plain Python pickle, which torch.save did not"),
        (lambda path: saved([torch.zeros(2)], path), "holds a list, not a dictionary of weights"),
        (lambda path: saved(torch.zeros(2), path), "holds a Tensor, not a dictionary of weights"),
        (lambda path: saved({"epoch": 3, "optimizer": {}}, path), "holds no weights, only epoch, optimizer"),
        (lambda path: saved({"state": {0: torch.zeros(2)}}, path), "holds no weights, only state; save"),
        (lambda path: saved({}, path), "holds no weights; save model.state_dict()"),
        (lambda path: saved(argparse.Namespace(lr=1), path), "holds a argparse.Namespace, not a dictionary of weights"),
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
