"""Files of the programs that people train with: read whole, and nothing in them executed."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.distributed.algorithms._checkpoint import checkpoint_wrapper
from torch.distributed.fsdp import _common_utils
from torch.optim.swa_utils import AveragedModel

from edgevit_deploy import create_model
from edgevit_deploy.cli import run
from edgevit_deploy.model.checkpoint import read_checkpoint
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.random_weights import randomise
from tests.helpers.checkpoints import ASSUMED, Malice, assert_state, foreign_code, read, refusal, saved, seeded_state
from tests.helpers.small import tiny_network
from tests.helpers.trainers import EXECUTED, TRAINERS, State, other_state, prefixed

ROOT = Path(__file__).parents[2]


def network(seed: int = 0) -> EdgeViT:
    model = create_model("edgevit_xxs", num_classes=10)
    randomise(model, seed)
    return model


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    """The folder that exists once a canary was executed."""
    return tmp_path / "sprung"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainers_file_is_read_and_nothing_executed(name: str, zipped: bool, tmp_path: Path, sprung: Path) -> None:
    trainer = TRAINERS[name]
    path = tmp_path / "weights.pth"
    with foreign_code() as define:
        torch.save(trainer.content(seeded_state(), sprung, define), path, _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(path)
    assert_state(checkpoint, seeded_state())
    assert [note for note in checkpoint.notes if not note.startswith(EXECUTED)] == list(trainer.notes)
    assert [note for note in checkpoint.notes if note.startswith(EXECUTED)] == [EXECUTED + ", ".join(trainer.foreign)]
    assert run(["inspect", str(path)]) == 0
    assert not sprung.exists()
    assert not {"their_code", "deepspeed_fp16"} & set(sys.modules)


@pytest.mark.parametrize("name", TRAINERS)
def test_the_canary_is_alive(name: str, tmp_path: Path, sprung: Path) -> None:
    """The control: PyTorch's own reader, told to execute, springs it or fails on the classes that are not there."""
    path = tmp_path / "weights.pth"
    with foreign_code() as define:
        torch.save(TRAINERS[name].content(seeded_state(), sprung, define), path)
        torch.load(path, weights_only=False)
    assert sprung.is_dir()


@pytest.mark.parametrize("name", ["published", "timm"])
def test_the_command_for_the_other_weights_gives_them(name: str, tmp_path: Path, sprung: Path) -> None:
    path = tmp_path / "weights.pth"
    with foreign_code() as define:
        torch.save(TRAINERS[name].content(seeded_state(), sprung, define), path)
    (note,) = [note for note in read_checkpoint(path).notes if " instead: " in note]
    command = shlex.split(note.partition(" instead: ")[2])
    assert command[:2] == ["python", "-c"]
    subprocess.run([sys.executable, *command[1:]], check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert_state(read_checkpoint(tmp_path / "other.pth"), other_state())
    assert not sprung.exists()


@pytest.mark.parametrize("prefix", ["model.", "edgevit.", "backbone.", "net.student."])
@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_hugging_faces_trainer(file: str, prefix: str, tmp_path: Path, sprung: Path) -> None:
    """Names of the attributes of a PreTrainedModel, whose loss may have weights; in transformers' own two files."""
    state = {**prefixed(seeded_state(), prefix), "loss_function.weight": torch.ones(10)}
    if file.endswith(".bin"):
        torch.save({**state, "trainer": Malice(sprung)}, tmp_path / file)
        said = ("2 entries beside the network ignored: loss_function.weight, trainer", EXECUTED + Malice.name)
    else:
        save_file(state, tmp_path / file, metadata={"format": "pt"})
        said = ("1 tensors beside the network ignored: loss_function.weight",)
    checkpoint = read_checkpoint(tmp_path / file)
    assert_state(checkpoint, seeded_state())
    assert checkpoint.notes == (f"prefix `{prefix}` removed", *said, ASSUMED)
    assert not sprung.exists()


def test_averaged_model(tmp_path: Path, sprung: Path) -> None:
    averaged = AveragedModel(network())
    notes = ("wrapper names `module.` removed from 251 keys", "AveragedModel's counters ignored: 1 of n_averaged")
    state = read(averaged.state_dict(), tmp_path)
    assert_state(state, seeded_state())
    assert state.notes == (*notes, ASSUMED)
    whole = read({"epoch": 1, "ema_model": averaged, "canary": Malice(sprung)}, tmp_path)
    assert not sprung.exists()
    assert_state(whole, seeded_state())
    assert whole.notes[:3] == ("weights found under `ema_model`", *notes)
    assert whole.notes[3].startswith(f"{EXECUTED}edgevit_deploy.model.edgevit.ConvMlp, ")


@pytest.mark.parametrize("part", ["all", "blocks", "LocalAgg"])
def test_compiled_networks(part: str, tmp_path: Path, sprung: Path) -> None:
    model = network()
    if part == "blocks":
        for blocks in (model.blocks1, model.blocks3):
            blocks[0] = torch.compile(blocks[0])
    elif part == "LocalAgg":
        model.blocks1[0].LocalAgg = torch.compile(model.blocks1[0].LocalAgg)
    state = (torch.compile(model) if part == "all" else model).state_dict()
    changed = sum("_orig_mod." in key for key in state)
    assert changed
    checkpoint = read({"state_dict": state, "canary": Malice(sprung)}, tmp_path)
    assert_state(checkpoint, seeded_state())
    said = f"wrapper names `_orig_mod.` removed from {changed} keys"
    assert checkpoint.notes == (said, EXECUTED + Malice.name, ASSUMED)
    assert not sprung.exists()


@pytest.mark.parametrize("wrapper", [_common_utils.FSDP_WRAPPED_MODULE, checkpoint_wrapper._CHECKPOINT_WRAPPED_MODULE])
def test_fsdp_and_activation_checkpointing(wrapper: str, tmp_path: Path, sprung: Path) -> None:
    """The names are PyTorch's own constants; FSDP wraps the network and its blocks, checkpointing the blocks."""

    def wrapped(key: str) -> str:
        first, index, rest = key.split(".", 2) if key.startswith("blocks") else ("", "", key)
        inner = f"{first}.{index}.{wrapper}.{rest}" if first else rest
        return f"{wrapper}.{inner}" if wrapper == _common_utils.FSDP_WRAPPED_MODULE else inner

    state: State = {wrapped(key): tensor for key, tensor in seeded_state().items()}
    assert any(key not in seeded_state() for key in state)
    checkpoint = read({"model": prefixed(state, "module."), "canary": Malice(sprung)}, tmp_path)
    assert_state(checkpoint, seeded_state())
    said = f"wrapper names `module.`, `{wrapper}.` removed from {len(state)} keys"
    assert checkpoint.notes == (said, EXECUTED + Malice.name, ASSUMED)
    assert not sprung.exists()
    assert_state(read(state, tmp_path), seeded_state())


@pytest.mark.parametrize("under", [(), ("model",), ("ema",), ("a", "b")])
def test_a_whole_network_is_read_as_its_state(under: tuple[str, ...], tmp_path: Path) -> None:
    """Also when its class cannot be imported: the attributes of `nn.Module` hold the tensors."""
    content: object = network()
    for name in reversed(under):
        content = {name: content, "epoch": 3}
    assert_state(read(content, tmp_path), seeded_state())


def test_a_buffer_that_is_not_in_the_state_is_left_out(tmp_path: Path) -> None:
    model = network()
    model.register_buffer("grid", torch.zeros(3), persistent=False)
    assert_state(read(model, tmp_path), seeded_state())
    model.register_buffer("table", torch.zeros(3))
    assert "1 unexpected: table" in refusal(saved(model, tmp_path / "weights.pth"))


def test_a_file_of_the_published_trainer_is_converted(tmp_path: Path, sprung: Path) -> None:
    """At the size that the trainer's arguments say, by the command line; nothing in the file is executed."""
    arguments = argparse.Namespace(input_size=64, trap=Malice(sprung))
    path = saved({"model": tiny_network(seed=0).state_dict(), "epoch": 3, "args": arguments}, tmp_path / "checkpoint.pth")
    assert run(["torchscript", "--weights", str(path), "--output", str(tmp_path / "out")]) == 0
    (manifest,) = (tmp_path / "out").rglob("manifest.json")
    document = json.loads(manifest.read_text())
    assert document["model"]["image_size"] == [64, 64]
    assert document["parity"]["status"] == "passed"
    assert not sprung.exists()
