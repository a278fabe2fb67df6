"""A whole training by the command: what it writes, and that other commands take it as it is."""

import hashlib
import json
import math
import xml.dom.minidom
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgevit_deploy import load_model
from edgevit_deploy.cli import run
from edgevit_deploy.train.job import TrainingRun
from edgevit_deploy.train.presets import preset
from tests.helpers.trained import LABELS
from tests.helpers.training import BATCH, UPDATES_AN_EPOCH, counted, metadata, metrics, tokens


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("by-command") / "run"
    assert run(tokens(data, output)) == 0
    return output


def test_the_files_of_a_run(trained: Path) -> None:
    assert {file.name for file in trained.iterdir()} == {
        *("best.safetensors", "last.safetensors", "metrics.jsonl", "recipe.json", "training.svg"),
        *("checkpoint-last.pt", "checkpoint-previous.pt"),
    }
    written = json.loads((trained / "recipe.json").read_text())
    assert written["batch_size"] == BATCH
    assert written["weight_decay"] == preset("small").weight_decay
    xml.dom.minidom.parse(str(trained / "training.svg"))


def test_every_update_and_every_evaluation_is_a_line(trained: Path) -> None:
    lines = metrics(trained)
    assert [line.step for line in lines] == list(range(1, 2 * UPDATES_AN_EPOCH + 1))
    assert [line.step for line in lines if line.ema_top1 is not None] == [UPDATES_AN_EPOCH, 2 * UPDATES_AN_EPOCH]
    assert all(math.isfinite(line.loss) and line.images_per_s > 0 and line.image_size == 32 for line in lines)
    assert lines[-1].epoch == 2
    assert lines[-1].pictures == 30
    for share in (lines[-1].top1, lines[-1].ema_top1):
        assert share is not None
        assert (30 * share) == pytest.approx(round(30 * share))


def test_the_checkpoint_says_what_a_conversion_must_know(trained: Path, data: Path) -> None:
    about = metadata(trained / "best.safetensors")
    assert about["version"] == 1
    assert about["variant"] == "edgevit_xxs"
    assert about["image_size"] == [32, 32]
    assert about["labels"] == sorted(LABELS)
    assert about["preprocess"]["crop"] == [32, 32]
    assert about["preprocess"]["resize"] == [36, 36]
    assert about["recipe"] == json.loads((trained / "recipe.json").read_text())
    assert about["data"]["train_pictures"] == 80
    assert about["accuracy"]["pictures"] == 30
    assert len(about["data"]["sha256"]) == len(hashlib.sha256().hexdigest())


def test_other_commands_take_it_as_it_is(trained: Path) -> None:
    """No flag says size, classes or preprocessing."""
    loaded = load_model(weights=trained / "best.safetensors")
    assert loaded.labels == tuple(sorted(LABELS))
    assert loaded.spec.image_size == loaded.spec.preprocess.crop == (32, 32)
    assert not any("assumed" in note for note in loaded.notes)
    assert run(["inspect", str(trained / "best.safetensors")]) == 0


def test_the_average_of_weights_is_what_is_written(trained: Path) -> None:
    from edgevit_deploy.train.checkpoint import load_state

    state, note = load_state(trained)
    assert note == ""
    written = load_file(trained / "last.safetensors")
    assert all(torch.equal(written[key], tensor) for key, tensor in state["average"].items())
    assert any(not torch.equal(written[key], tensor) for key, tensor in state["network"].items())


def test_accuracy_is_that_of_the_written_weights(trained: Path, data: Path) -> None:
    about = metadata(trained / "best.safetensors")["accuracy"]
    assert (about["top1"], about["top5"]) == counted(trained / "best.safetensors", data / "val")


def test_an_average_that_reaches_back_before_the_training_is_said(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tokens(data, tmp_path / "run", epochs=0.4, ema_decay=0.9999, no_ema_warmup=True)) == 0
    assert "note: --ema-decay 0.9999 reaches back 10000 updates and the training has 2: " in capfd.readouterr().err


def test_json_is_one_document(data: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(tokens(data, tmp_path / "run", epochs=0.4, json=True)) == 0
    out, err = capfdbinary.readouterr()
    document = json.loads(out)
    assert document["pictures"] == 30
    assert document["processes"] == 1
    assert len(document["metrics"]) == 2
    assert document["recipe"]["epochs"] == 0.4
    assert b"convert.py all --weights" in err


def test_labels_give_the_order_and_val_share_a_split(data: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    output = tmp_path / "run"
    assert run(tokens(data / "train", output, epochs=0.5, labels=tmp_path / "labels.txt", val_share=0.25)) == 0
    about = metadata(output / "best.safetensors")
    assert tuple(about["labels"]) == LABELS
    assert (about["data"]["train_pictures"], about["data"]["val_pictures"]) == (60, 20)


def test_preprocessing_that_is_said_is_trained_with_and_recorded(data: Path, tmp_path: Path, uninterrupted: TrainingRun) -> None:
    said = {
        "mean": "0.5,0.5,0.5",
        "std": "0.25,0.25,0.25",
        "crop_ratio": 1,
        "interpolation": "bilinear",
        "resize_mode": "stretch",
    }
    output = tmp_path / "run"
    assert run(tokens(data, output, epochs=0.4, **said)) == 0
    written = metadata(output / "best.safetensors")["preprocess"]
    assert written["mean"] == [0.5] * 3
    assert written["std"] == [0.25] * 3
    assert (written["resize"], written["crop"]) == ([32, 32], [32, 32])
    assert (written["interpolation"], written["fit"]) == ("bilinear", "stretch")
    assert load_model(weights=output / "best.safetensors").spec.preprocess.mean == (0.5, 0.5, 0.5)
    assert metrics(output)[0].loss != uninterrupted.metrics[0].loss


def test_two_trainings_give_the_same_bytes(trained: Path, uninterrupted: TrainingRun) -> None:
    """One by the command, one by the function; `test_resume` shows that anything else in their state makes other bytes."""
    for name in ("best.safetensors", "last.safetensors", "recipe.json"):
        assert (trained / name).read_bytes() == (uninterrupted.folder / name).read_bytes()
