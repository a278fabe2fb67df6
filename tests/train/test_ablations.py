"""`train --ablations`: one recipe for every network, each counted on the same pictures; what has ended is not trained again."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgevit_deploy import load_model, train_ablations
from edgevit_deploy.cli import run
from edgevit_deploy.commands.train.ablations import study_lines
from edgevit_deploy.data.image_folder import open_image_folder
from edgevit_deploy.data.preprocess import normalise, read_pixels
from edgevit_deploy.errors import RunError, UsageError
from edgevit_deploy.measure.trained_ablations import AblationStudy
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.parity.statistics import paired_difference, wilson
from edgevit_deploy.train.recipe import changed
from edgevit_deploy.train.records import Measured
from tests.helpers.training import QUICK, Stopped, metrics, tokens

ErrorCheck = Callable[..., str]
BASE, LSA, CENTER = "edgevit_xxs", "edgevit_xxs_lsa", "edgevit_xxs_center"
ONE_EPOCH = changed(QUICK, {"epochs": 1.0})


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were two ablations only; the second is told from the published network by metadata alone."""
    monkeypatch.setattr("edgevit_deploy.measure.trained_ablations.ABLATIONS", (LSA, CENTER))


def right(weights: Path, pictures: Path) -> np.ndarray:
    """Whether a checkpoint gets each picture right, from the file alone."""
    loaded = load_model(weights=weights)
    listed = open_image_folder(pictures)
    pixels = np.stack([read_pixels(listed.path(index), loaded.spec.preprocess) for index in range(len(listed))])
    with torch.inference_mode():
        first = loaded.network(torch.from_numpy(normalise(pixels, loaded.spec.preprocess, "tensor"))).argmax(1).numpy()
    return np.asarray(first == listed.targets)


@pytest.fixture(scope="module")
def study(data: Path, tmp_path_factory: pytest.TempPathFactory) -> AblationStudy:
    """A whole one, not to be changed: it was stopped in the second training and went on."""
    folder = tmp_path_factory.mktemp("ablations") / "run"
    evaluations: list[Measured] = []

    def stop(measured: Measured) -> None:
        evaluations.append(measured)
        if len(evaluations) == 2:
            raise Stopped

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("edgevit_deploy.measure.trained_ablations.ABLATIONS", (LSA, CENTER))
        with pytest.raises(Stopped):
            train_ablations(data, recipe=ONE_EPOCH, output=folder, processes=1, checkpoint_every=2, on_epoch=stop)
        first = (folder / BASE / "best.safetensors").read_bytes()
        found = train_ablations(data, recipe=ONE_EPOCH, output=folder, processes=1, checkpoint_every=2, resume=True)
    assert (folder / BASE / "best.safetensors").read_bytes() == first
    return found


def test_each_is_trained_alike_and_counted_on_the_same_pictures(study: AblationStudy, data: Path) -> None:
    assert [each.facts.variant for each in study.networks] == [BASE, LSA, CENTER]
    decided = {each.facts.variant: right(each.weights, data / "val") for each in study.networks}
    for each in study.networks:
        own, base = decided[each.facts.variant], decided[BASE]
        assert (each.accuracy.top1.count, each.accuracy.top1.of) == (own.sum(), len(own) == 30 and 30)
        assert each.accuracy.top1.interval == wilson(int(own.sum()), 30)
        assert json.loads((study.folder / each.facts.variant / "recipe.json").read_text()) == json.loads(json_bytes(ONE_EPOCH))
        assert metrics(study.folder / each.facts.variant)[-1].epoch == 1
        if each.facts.variant == BASE:
            assert each.pairing is None
            continue
        assert each.pairing is not None
        lost, gained = int((base & ~own).sum()), int((own & ~base).sum())
        assert (each.pairing.right_to_wrong, each.pairing.wrong_to_right) == (lost, gained)
        gain, low, high = each.gain
        assert gain == pytest.approx((own.sum() - base.sum()) / 30)
        assert (-high, -low) == paired_difference(lost, gained, 30)


def test_what_has_ended_is_not_trained_again(study: AblationStudy, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr("edgevit_deploy.train.engine.Engine.run", train)
    evaluated: list[Measured] = []
    again = train_ablations(
        data, recipe=ONE_EPOCH, output=study.folder, processes=1, checkpoint_every=2, resume=True, on_epoch=evaluated.append
    )
    assert evaluated == []
    assert [replace(each, elapsed_s=0) for each in again.networks] == [replace(each, elapsed_s=0) for each in study.networks]
    with pytest.raises(UsageError, match="the recipe has changed: --epochs was 1"):
        train_ablations(data, recipe=QUICK, output=study.folder, processes=1, resume=True)


def test_weights_that_do_not_run_are_said(study: AblationStudy, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RunError("the runtime says no")

    shutil.rmtree(study.folder / "shards")
    monkeypatch.setattr("edgevit_deploy.measure.accuracy.shards.open_subject", refuse)
    with pytest.raises(RunError, match=r"edgevit_xxs/best.safetensors cannot be counted: the runtime says no"):
        train_ablations(data, recipe=ONE_EPOCH, output=study.folder, processes=1, checkpoint_every=2, resume=True)
    assert not (study.folder / "shards").exists()


def test_a_choice_by_the_same_pictures_is_said_where_there_was_one(study: AblationStudy) -> None:
    assert [each.evaluations for each in study.networks] == [1] * len(study.networks)
    assert not any("best of" in line for line in study_lines(study))
    chosen = replace(study, networks=(replace(study.networks[0], evaluations=3), *study.networks[1:]))
    assert any("the best of up to 3 evaluations on these same pictures" in line for line in study_lines(chosen))


def test_a_run_that_is_there_is_not_trained_over(data: Path, tmp_path: Path) -> None:
    """It is refused before the first network is trained, though the run is the second one's."""
    (tmp_path / LSA).mkdir()
    (tmp_path / LSA / "checkpoint-last.pt").write_bytes(b"")
    with pytest.raises(UsageError, match=f"{LSA}: a training has been there; add --resume to go on with all of them"):
        train_ablations(data, recipe=ONE_EPOCH, output=tmp_path, processes=1)
    assert not (tmp_path / BASE).exists()


def test_the_command_says_what_was_found(study: AblationStudy, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    given = tokens(data, study.folder, ablations=True, resume=True, json=True, epochs=1.0, checkpoint_every=2)
    assert run(given) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert [entry["variant"] for entry in document["networks"]] == [BASE, LSA, CENTER]
    lsa = document["networks"][1]
    assert lsa["difference_interval"][0] <= lsa["difference"] <= lsa["difference_interval"][1]
    assert "neither confirm nor refute" in captured.err
    page = (study.folder / "ablations.md").read_text()
    assert "LSA for LA" in page
    assert "neither confirm nor refute" in page
    assert (study.folder / "ablations.svg").read_text().count("<circle") == 3
    assert (study.folder / "ablations.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((study.folder / "ablations.json").read_text()) == document
    assert (study.folder / LSA / "training.svg").is_file()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"model": "edgevit_xs"}, "--ablations trains edgevit_xxs and every ablation of it from the start; drop --model"),
        ({"finetune": "w.safetensors"}, "drop --finetune"),
        ({"qat": "onnx"}, "drop --qat"),
        ({"precision": "int8"}, "drop --precision"),
        ({"calibration": "synthetic"}, "drop --calibration"),
        ({"recipe": "finetune"}, "--recipe finetune: it goes on from trained weights"),
        ({"resume": True}, "to go on from; drop --resume to begin anew"),
    ],
)
def test_what_makes_no_sense_with_it_is_refused(
    flags: dict[str, object], expected: str, data: Path, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    assert expected in expect_error(2, *tokens(data, tmp_path / "run", ablations=True, **flags))
    assert not (tmp_path / "run").exists()


def test_torchrun_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="one after another, each in its own processes; drop torchrun"):
        train_ablations(data, recipe=ONE_EPOCH, output=tmp_path / "run")
