"""Checkpoint files: every container and wrapper that is read, and everything that is refused, by its message and exit code."""

import argparse
import hashlib
import io
import os
import pickle
import random
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from edgevit_deploy import create_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.checkpoint import Checkpoint, load_network, read_checkpoint, reconcile
from edgevit_deploy.model.random_weights import randomise

ASSUMED = "image size and preprocessing are not in the file: 224x224 pixels and the published evaluation's assumed"
HEAD = "head.weight"
NEITHER = "neither a PyTorch checkpoint nor safetensors:"
NO_TENSORS = "has entries among its weights that are no tensors"
MISFIT = "not the weights of an EdgeViT (saic-fi names):"


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


# --- what is read


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors", ""])
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_content_decides_and_not_the_suffix(form: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    if form == "safetensors":
        save_file(seeded_state(), path)
    else:
        torch.save(seeded_state(), path, _use_new_zipfile_serialization=form == "zip")
    checkpoint = read_checkpoint(path)
    assert_state(checkpoint, seeded_state())
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.file == path.name
    assert checkpoint.notes == (ASSUMED,)
    assert checkpoint.labels is None


def test_the_loaded_network_is_the_one_that_was_saved(tmp_path: Path) -> None:
    original = create_model("edgevit_xxs", num_classes=10)
    original.load_state_dict(seeded_state())
    checkpoint = read(original.state_dict(), tmp_path)
    network = load_network(checkpoint)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(x), original(x))
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    network.head.weight.zero_()
    assert_state(checkpoint, seeded_state())


@pytest.mark.parametrize(
    ("wrapped", "taken", "said"),
    [
        ({"model": 0}, 0, None),
        ({"state_dict": 0, "optimizer": {"state": {}}, "epoch": 3, "arch": "edgevit_xxs", "metric": 0.5, "version": 2}, 0, None),
        ({"state": 0}, 0, None),
        ({"meta": {"epoch": 1}, "state_dict": 0}, 0, None),
        ({"ema": 0}, 0, "averaged (EMA) weights taken, from `ema`"),
        ({"model_ema": 0, "epoch": 1}, 0, "averaged (EMA) weights taken, from `model_ema`"),
        ({"state_dict": 1, "state_dict_ema": 0}, 0, "averaged (EMA) weights taken, from `state_dict_ema`"),
        ({"state_dict": 1, "state_dict_ema": 0}, 0, "`state_dict_ema` taken; for `state_dict` instead: torch.save("),
        ({"model": 0, "model_ema": 1}, 0, "`model` taken; for `model_ema` instead: torch.save("),
        ({"model": 0, "ema": 1}, 0, "`model` taken; for `ema` instead: torch.save("),
    ],
)
def test_wrappers(wrapped: dict[str, object], taken: int, said: str | None, tmp_path: Path) -> None:
    seeds = {
        key: seeded_state(seed=value) if type(value) is int and key not in ("epoch", "version") else value
        for key, value in wrapped.items()
    }
    checkpoint = read(seeds, tmp_path)
    assert_state(checkpoint, seeded_state(seed=taken))
    if said is None:
        assert checkpoint.notes == (ASSUMED,)
    else:
        assert any(note.startswith(said) for note in checkpoint.notes)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_training_prefixes(prefix: str, tmp_path: Path) -> None:
    prefixed = {prefix + key: tensor for key, tensor in seeded_state().items()}
    assert_state(read({"state_dict": prefixed}, tmp_path), seeded_state())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_with_a_note(dtype: torch.dtype, tmp_path: Path) -> None:
    stored = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in seeded_state().items()}
    checkpoint = read(stored, tmp_path)
    assert_state(checkpoint, {key: tensor.to(seeded_state()[key].dtype) for key, tensor in stored.items()})
    count = sum(tensor.is_floating_point() for tensor in stored.values())
    assert f"{count} tensors stored as {str(dtype).removeprefix('torch.')}, computed as float32" in checkpoint.notes


def test_missing_batch_counters_are_set_to_zero_with_a_note(tmp_path: Path) -> None:
    stored = {key: tensor for key, tensor in seeded_state().items() if not key.endswith("num_batches_tracked")}
    checkpoint = read(stored, tmp_path)
    assert_state(checkpoint, seeded_state())
    assert "11 num_batches_tracked missing, not used in inference: set to 0" in checkpoint.notes


def test_strides_do_not_survive(tmp_path: Path) -> None:
    stored = weights(patch_embed2__proj__weight=seeded_state()["patch_embed2.proj.weight"].to(memory_format=torch.channels_last))
    checkpoint = read(stored, tmp_path)
    assert_state(checkpoint, seeded_state())
    assert all(tensor.is_contiguous() for tensor in checkpoint.state.values())


def test_a_head_without_bias_is_seen(tmp_path: Path) -> None:
    checkpoint = read(weights(head__bias=None), tmp_path)
    assert not checkpoint.spec.head_bias
    assert "the head has no bias" in checkpoint.notes
    assert load_network(checkpoint).head.bias is None


def test_depths_of_table_1_are_told_from_the_codes(tmp_path: Path) -> None:
    for variant in ("edgevit_xs", "edgevit_xs_table1"):
        assert read(seeded_state(variant), tmp_path).spec.variant == variant


def test_unpublished_depths_get_a_name_of_their_own(tmp_path: Path) -> None:
    shorter = {key: tensor for key, tensor in seeded_state().items() if not key.startswith("blocks3.2.")}
    checkpoint = read(shorter, tmp_path)
    assert checkpoint.spec.variant == "edgevit_c36_d1_1_2_2"
    assert checkpoint.spec.depths == (1, 1, 2, 2)
    assert any("no published variant: make sure that no block is missing" in note for note in checkpoint.notes)
    reconcile(checkpoint, model="edgevit_c36_d1_1_2_2", num_classes=10)


# --- what is refused: the file


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


# --- what is refused: objects that would run code


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


@pytest.mark.parametrize("content", ["training arguments", "whole module"])
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


# --- what is refused: the tensors


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"norm__weight": None, "blocks1__0__SelfAttn__norm1__weight": None},
            f"{MISFIT} 2 missing: blocks1.0.SelfAttn.norm1.weight, norm.weight; nothing is loaded in part",
        ),
        (
            {name: torch.zeros(1) for name in ("fc__a", "fc__b", "fc__c", "fc__d", "fc__e")},
            f"{MISFIT} 5 unexpected: fc.a, fc.b, fc.c and 2 more; nothing is loaded in part",
        ),
        (
            {"blocks4__0__LocalAgg__conv1__bias": torch.zeros(288)},
            f"{MISFIT} 1 unexpected: blocks4.0.LocalAgg.conv1.bias; nothing is loaded in part",
        ),
        (
            {"head__bias": torch.zeros(11), "norm__bias": torch.zeros(1), "extra": torch.zeros(1)},
            f"{MISFIT} 1 unexpected: extra; 2 of another shape: norm.bias (1,) instead of (288,), "
            "head.bias (11,) instead of (10,); nothing is loaded in part",
        ),
        (
            {"patch_embed1__proj__weight": torch.zeros(36, 1, 4, 4)},
            f"{MISFIT} 1 of another shape: patch_embed1.proj.weight (36, 1, 4, 4) instead of "
            "(36, 3, 4, 4); nothing is loaded in part",
        ),
        (
            {"patch_embed3__proj__weight": torch.zeros(128, 72, 2, 2)},
            "channels (36, 72, 128, 288) are those of no EdgeViT; expected (36, 72, 144, 288) or (48, 96, 240, 384)",
        ),
        ({"patch_embed2__proj__weight": None}, "patch_embed2.proj.weight is missing or empty, and nothing is loaded in part"),
        ({"head__weight": None}, "head.weight is missing or empty, and nothing is loaded in part; give a whole classifier"),
        ({"head__weight": torch.zeros(())}, "head.weight is missing or empty"),
        ({"head__weight": torch.zeros(0, 288)}, "head.weight is missing or empty"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_listed(changes: dict[str, Tensor | None], said: str, tmp_path: Path) -> None:
    assert refusal(saved(weights(**changes), tmp_path / "weights.pth")).startswith(said)


@pytest.mark.parametrize(
    ("block", "named"), [("blocks4.", "blocks4.0"), ("blocks3.1.", "blocks3.1"), ("blocks1.0.", "blocks1.0")]
)
def test_a_missing_block_is_named(block: str, named: str, tmp_path: Path) -> None:
    rest = {key: tensor for key, tensor in seeded_state().items() if not key.startswith(block)}
    message = refusal(saved(rest, tmp_path / "weights.pth"))
    assert message == f"block {named} is missing, and nothing is loaded in part"


def spoilt(value: float) -> Tensor:
    tensor = seeded_state()[HEAD].double()
    tensor[3, 5:7] = value
    return tensor


@pytest.mark.filterwarnings("ignore:.*torch.quantize_per_tensor", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: spoilt(float("nan")), "head.weight holds 2 NaN or infinite values"),
        (lambda: spoilt(float("-inf")), "head.weight holds 2 NaN or infinite values"),
        (lambda: spoilt(1e300), "head.weight holds 2 NaN or infinite values"),
        (lambda: seeded_state()[HEAD].to(torch.complex64), "head.weight is stored as torch.complex64"),
        (lambda: torch.quantize_per_tensor(seeded_state()[HEAD], 0.1, 0, torch.qint8), "head.weight is stored as torch.qint8"),
        (lambda: seeded_state()[HEAD].to(torch.int8), "head.weight is stored as torch.int8; expected float32, float64, float16"),
        (lambda: seeded_state()[HEAD].to(torch.float8_e4m3fn), "head.weight is stored as torch.float8_e4m3fn; expected float32"),
        (lambda: seeded_state()[HEAD].to_sparse(), "head.weight is stored as torch.float32 (torch.sparse_coo, cpu)"),
        (lambda: seeded_state()[HEAD].to("meta"), "head.weight is stored as torch.float32 (torch.strided, meta)"),
    ],
    ids=["NaN", "infinity", "overflow", "complex", "quantised", "integer", "float8", "sparse", "meta"],
)  # fmt: skip
def test_tensors_without_exact_meaning_are_refused_by_name(make: Callable[[], Tensor], said: str, tmp_path: Path) -> None:
    assert refusal(saved(weights(head__weight=make()), tmp_path / "weights.pth")).startswith(said)


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    huge = weights(head__weight=torch.zeros(1).expand(10**12, 288), head__bias=torch.zeros(1).expand(10**12))
    message = refusal(saved(huge, tmp_path / "weights.pth"))
    assert message.startswith("head.weight claims 288000000000000 values but the file holds fewer")


# --- what is refused: contradictions with the command line


@pytest.fixture(scope="module")
def table_1_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read(seeded_state("edgevit_xs_table1"), tmp_path_factory.mktemp("xs"))


@pytest.mark.parametrize(
    ("model", "num_classes", "said"),
    [
        (
            "edgevit_xs",
            None,
            "--model edgevit_xs (depths 1,1,3,1 with channels 48,96,240,384) but weights.pth holds depths 1,1,2,2 with channels "
            "48,96,240,384, which is edgevit_xs_table1; use --model edgevit_xs_table1, or drop --model",
        ),
        ("edgevit_xss", None, "no model 'edgevit_xss'; did you mean 'edgevit_xs"),
        (None, 1000, "--num-classes 1000 but the head of weights.pth has 10 classes; drop --num-classes"),
        ("edgevit_xs_table1", 9, "--num-classes 9 but the head of weights.pth has 10 classes; drop --num-classes"),
    ],
)
def test_contradictions_show_both_values(
    model: str | None, num_classes: int | None, said: str, table_1_checkpoint: Checkpoint
) -> None:
    with pytest.raises(UsageError) as caught:
        reconcile(table_1_checkpoint, model=model, num_classes=num_classes)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(("model", "num_classes"), [(None, None), ("edgevit_xs_table1", 10), (None, 10)])
def test_agreement_passes(model: str | None, num_classes: int | None, table_1_checkpoint: Checkpoint) -> None:
    reconcile(table_1_checkpoint, model=model, num_classes=num_classes)


def test_the_command_line_refuses_with_exit_code_2(expect_error: Callable[..., str], tmp_path: Path) -> None:
    good = saved(seeded_state(), tmp_path / "weights.pth")
    assert "the file is empty" in expect_error(2, "inspect", saved_empty(tmp_path))
    asked = ("onnx", "--weights", good, "--output", tmp_path / "out")
    assert "--num-classes 5 but the head of weights.pth has 10" in expect_error(2, *asked, "--num-classes", 5)
    assert "which is edgevit_xxs; use --model edgevit_xxs" in expect_error(2, *asked, "--model", "edgevit_s")
    assert not (tmp_path / "out").exists()


def saved_empty(folder: Path) -> Path:
    path = folder / "empty.pth"
    path.touch()
    return path
