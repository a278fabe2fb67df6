"""Checkpoint files: every container and wrapper that is read, and what is asked of the command line beside one."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgevit_deploy import create_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.checkpoint import Checkpoint, load_network, read_checkpoint, reconcile
from tests.helpers.checkpoints import ASSUMED, assert_state, read, saved, seeded_state, weights


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
        ({"net": 0}, 0, "weights found under `net`"),
        ({"run": {"best": [{"weights": 0}]}}, 0, "weights found under `run.best.0.weights`"),
        ({"model": {"ema": {}}, "any name": 0}, 0, "weights found under `any name`"),
        ({"meta": {"epoch": 1}, "state_dict": 0}, 0, None),
        ({"ema": 0}, 0, "averaged (EMA) weights taken, from `ema`"),
        ({"model_ema": 0, "epoch": 1}, 0, "averaged (EMA) weights taken, from `model_ema`"),
        ({"state_dict": 1, "state_dict_ema": 0}, 0, "averaged (EMA) weights taken, from `state_dict_ema`"),
        ({"state_dict": 1, "state_dict_ema": 0}, 0, "`state_dict_ema` taken; for `state_dict` instead: python -c "),
        ({"model": 0, "model_ema": 1}, 0, "`model` taken; for `model_ema` instead: python -c "),
        ({"model": 0, "ema": 1}, 0, "`model` taken; for `ema` instead: python -c "),
    ],
)
def test_wrappers(wrapped: dict[str, object], taken: int, said: str | None, tmp_path: Path) -> None:
    checkpoint = read(with_states(wrapped), tmp_path)
    assert_state(checkpoint, seeded_state(seed=taken))
    if said is None:
        assert checkpoint.notes == (ASSUMED,)
    else:
        assert any(note.startswith(said) for note in checkpoint.notes)


def with_states(content: object, key: str = "") -> object:
    """Return the content with a state for each number, whose seed it is, except where the number is one."""
    if isinstance(content, dict):
        return {name: with_states(value, name) for name, value in content.items()}
    if isinstance(content, list):
        return [with_states(value) for value in content]
    return seeded_state(seed=content) if type(content) is int and key not in ("epoch", "version") else content


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
