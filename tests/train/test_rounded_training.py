"""A training that rounds as integer files do: what it writes, that nothing of it depends on chance, and what it refuses."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from edgevit_deploy import load_model, train_model
from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.calibration.record import CALIBRATION_NAME, read_calibration
from edgevit_deploy.cli import run
from edgevit_deploy.data.image_folder import open_image_folder
from edgevit_deploy.data.preprocess import normalise, read_pixels
from edgevit_deploy.deploy.quantised import emulation
from edgevit_deploy.deploy.ranges import Range
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.errors import UsageError
from edgevit_deploy.rounded_training import training_for
from edgevit_deploy.train.checkpoint import load_state, save_state
from edgevit_deploy.train.evaluation import Count
from edgevit_deploy.train.job import TrainingRun
from tests.helpers.rounded_training import RECIPE, ROUNDING, evaluated, trained
from tests.helpers.trained import WEIGHTS
from tests.helpers.training import losses, metadata, tokens, train_until

ErrorCheck = Callable[..., str]
Evaluated = tuple[TrainingRun, list[tuple[nn.Module, Count]]]


@pytest.fixture(scope="module")
def with_evaluations(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Ten updates in one process, and what was evaluated; not to be changed."""
    with evaluated() as found:
        return trained(data, tmp_path_factory.mktemp("rounded") / "run"), found


@pytest.fixture(scope="module")
def whole(with_evaluations: Evaluated) -> TrainingRun:
    return with_evaluations[0]


def test_its_checkpoint_is_a_plain_one_that_says_what_it_is_for(whole: TrainingRun) -> None:
    loaded = load_model(weights=whole.weights)
    assert "trained to be rounded as litert int8 is" in loaded.notes
    assert metadata(whole.weights)["trained_for"] == {"target": "litert", "precision": "int8"}
    recipe = json.loads((whole.folder / "recipe.json").read_bytes())
    assert recipe["rounding"]["files"] == "litert int8"
    assert recipe["epochs"] == 2
    before, after = load_file(WEIGHTS), load_file(whole.weights)
    assert list(before) == list(after)
    assert not torch.equal(before["head.weight"].float(), after["head.weight"])
    assert bool((after["norm.weight"] == 1).all()), "norms are folded"
    assert len(set(losses(whole.folder))) == 10


@torch.no_grad()
def test_its_accuracy_is_that_of_the_rounded_file(with_evaluations: Evaluated, data: Path) -> None:
    """What the evaluation ran has the outputs of the written weights and ranges, as the conversion rounds them."""
    whole, evaluations = with_evaluations
    network, count = next((network, count) for network, count in reversed(evaluations) if count.top1 == whole.top1)
    loaded = load_model(weights=whole.weights)
    graph = to_deploy_form(loaded.network, ROUNDING.form).network
    ranges = read_calibration(whole.folder / CALIBRATION_NAME).ranges
    listed = open_image_folder(data / "val")
    pixels = np.stack([read_pixels(listed.path(index), loaded.spec.preprocess) for index in range(len(listed))])
    inputs = torch.from_numpy(normalise(pixels, loaded.spec.preprocess, "tensor"))
    logits = network(inputs)
    assert int((logits.argmax(dim=1) == torch.from_numpy(listed.targets)).sum()) == count.top1

    def differs(other: nn.Module) -> float:
        return float((logits - other(inputs)).square().mean().sqrt())

    lost_by_rounding = differs(loaded.network)
    assert lost_by_rounding > 1e-3
    assert differs(emulation(graph, ROUNDING.scheme, ranges)) < 0.2 * lost_by_rounding, "a few values fall to the next step"
    wider = {path: replace(of, input=Range(low=4 * of.input.low, high=4 * of.input.high)) for path, of in ranges.items()}
    assert differs(emulation(graph, ROUNDING.scheme, wider)) > 0.5 * lost_by_rounding, "by other ranges it is another network"


@pytest.mark.nightly
def test_it_goes_on_to_the_same_weights_and_ranges(data: Path, whole: TrainingRun, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = {"finetune": WEIGHTS, "rounding": ROUNDING, "checkpoint_every": 2}
    train_until(lambda measured: measured.epoch == 2, data, folder, RECIPE, **options)
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    state, _ = load_state(other)
    assert state["update"] == 8
    for ranges in state["ranges"].values():
        ranges["input"]["high"] *= 1.01
    save_state(other, state)
    trained(data, folder, resume=True)
    trained(data, other, resume=True)
    for name in ("best.safetensors", "last.safetensors", CALIBRATION_NAME):
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert losses(folder) == losses(whole.folder)
    assert losses(other) != losses(whole.folder), "the ranges of the state count"


@pytest.mark.slow
def test_two_processes_train_what_one_does(data: Path, whole: TrainingRun, tmp_path: Path) -> None:
    """Sums in another order, and a value near the middle of a step then falls to its other side: more than rounding of floats."""
    both = trained(data, tmp_path / "run", processes=2)
    assert losses(both.folder) == pytest.approx(losses(whole.folder), rel=0.02)
    assert losses(both.folder)[0] == pytest.approx(losses(whole.folder)[0], rel=2e-3)


def test_another_target_is_not_gone_on_with(data: Path, whole: TrainingRun) -> None:
    for rounding in (training_for("onnx", "int8"), training_for("coreml", "w8")):
        with pytest.raises(
            UsageError, match=f"--resume: .* litert int8, and --qat is {rounding.target} {rounding.precision} now"
        ):
            trained(data, whole.folder, rounding, resume=True)
    with pytest.raises(UsageError, match="begun with litert int8, and --qat is no rounding now"):
        train_model(data, recipe=RECIPE, finetune=WEIGHTS, output=whole.folder, processes=1, resume=True)
    pictures = training_for("litert", "int8", CalibrationChoice(pictures=data / "val"))
    with pytest.raises(UsageError, match="the pictures of --calibration have changed"):
        trained(data, whole.folder, pictures, resume=True)


@pytest.mark.nightly
def test_the_command_and_then_the_conversion_by_its_ranges(data: Path, fake_target: None, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    flags = {"finetune": WEIGHTS, "qat": "fake", "epochs": 0.2, "drop_path": 0, "learning_rate": 1e-3, "warmup_epochs": 0}
    assert run(tokens(data, folder, precision="int8", calibration=data / "train", amp="bf16", **flags)) == 0
    ranges = ["--ranges", str(folder / CALIBRATION_NAME), "--output", str(tmp_path / "out")]
    assert run(["fake", "--weights", str(folder / "best.safetensors"), "--precision", "int8", *ranges]) == 0
    assert run(tokens(data, tmp_path / "w8", precision="w8", **flags)) == 0
    assert not (tmp_path / "w8" / CALIBRATION_NAME).exists(), "weights alone need no ranges"


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"qat": "onnx", "precision": "int8", "finetune": None}, "--qat: rounding is learnt by a network that is trained already"),
    ({"qat": "onnx"}, "--qat onnx: say how its files are rounded; add --precision int8"),
    ({"qat": "onnx", "precision": "fp32"}, "--qat onnx: files in fp32 round nothing to integers"),
    ({"qat": "onxn", "precision": "int8"}, "no target 'onxn'; did you mean 'onnx'"),
    ({"qat": "ncnn", "precision": "int8"}, "ncnn has no precision 'int8' ("),
    ({"qat": "torchscript", "precision": "int8"}, "torchscript has no precision 'int8' ("),
    ({"qat": "coreml", "precision": "palette8"}, "a table of values has no steps"),
    ({"qat": "tensorrt", "precision": "fp8"}, "8-bit floating point is not trained here"),
    ({"qat": "litert", "precision": "int8-dynamic"}, "steps that each run chooses for itself have no gradient"),
    ({"precision": "int8"}, "--precision is for a training that rounds as a target's files do; add --qat TARGET"),
    ({"calibration": "."}, "--calibration is for a training that rounds"),
    ({"qat": "coreml", "precision": "w8", "calibration": "."}, "--calibration: w8 rounds no activation by ranges; drop it"),
    ({"qat": "onnx", "precision": "int8", "drop_path": 0.1}, "give --drop-path 0"),
    ({"qat": "onnx", "precision": "int8", "small_epochs": 1}, "give --small-epochs 0"),
    ({"qat": "onnx", "precision": "int8", "calibration": "empty"}, "--calibration"),
]


@pytest.mark.parametrize(("flags", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_what_cannot_be_trained_is_refused_in_one_line(
    flags: dict[str, object], message: str, data: Path, tmp_path: Path, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    asked = {"finetune": WEIGHTS, "drop_path": 0} | flags
    assert message in expect_error(2, *tokens(data, tmp_path / "run", **asked))
    assert not (tmp_path / "run").exists()
