"""The pictures of `--judge`: all of them where the file itself runs, a drawn few where it is only evaluated."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from edgevit_deploy.bundle.claims import objections
from edgevit_deploy.bundle.manifest import ARITHMETIC_SAMPLED, QuantisationRecord, read_manifest
from edgevit_deploy.calibration.choice import JudgeChoice
from edgevit_deploy.calibration.source import sha256_of
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.parity.decisions import Decisions, Sample
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.session import Array, Session
from edgevit_deploy.workbench import judge as judging
from edgevit_deploy.workbench.judge import Judge
from tests.helpers.fakes import FakeExporter
from tests.helpers.pictures import save

CLASSES = ("down", "up")
PICTURES = 12


class Running(Session):
    """The network itself; of pictures that are brighter than a bound it names the other class."""

    name = "a runtime"
    network: ClassVar[torch.nn.Module]
    seen: ClassVar[list[float]] = []
    contrary: ClassVar[float] = np.inf

    def _load(self) -> None: ...

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        (images,) = feeds.values()
        brightness = float(images.mean())
        self.seen.append(brightness)
        with torch.no_grad():
            logits = self.network(torch.from_numpy(images)).numpy()
        return {self.outputs[0].name: logits[:, ::-1].copy() if brightness > self.contrary else logits}

    def _unload(self) -> None: ...


class Evaluating(Running):
    """The same, but no device's own arithmetic."""

    name = "an evaluation"
    executes_target = False


@pytest.fixture
def model(tmp_path: Path) -> LoadedModel:
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{name}\n" for name in CLASSES))
    origin = ModelOrigin(model="edgevit_xxs", weights=None, num_classes=2, image_size=(32, 32), labels=labels, seed=0)
    return load_model(origin)


@pytest.fixture
def decide(model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Session]], Decisions]:
    """Judge two runtimes on the same pictures, of which an evaluation gets 4; the judge is one for both."""
    for number in range(PICTURES):
        place = tmp_path / "pictures" / CLASSES[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        save(place / f"{number:02}.png", np.full((40, 40, 3), 20 * number, np.uint8))
    monkeypatch.setattr(judging, "MOST_DRAWN", 4)
    monkeypatch.setattr(Running, "network", model.network.eval(), raising=False)
    monkeypatch.setattr(Running, "seen", [])
    judge = Judge(
        JudgeChoice(pictures=tmp_path / "pictures"), model, Reference(model.network, model.spec.preprocess), lambda _: None
    )
    plan: Any = FakeExporter().plan(model.spec, precision="int8")
    file: Any = SimpleNamespace(path=tmp_path / "model", inputs=(plan.input_spec(),), outputs=plan.outputs)
    return lambda session_type: judge.decide(file, plan, session_type, 1)


def test_an_evaluation_gets_a_drawn_few_and_a_runtime_all(decide: Callable[[type[Session]], Decisions]) -> None:
    few = decide(Evaluating)
    first = list(Running.seen)
    assert few.sample == Sample(of=PICTURES, seed=0, runtime="an evaluation")
    assert (few.pictures, few.agreeing, len(first)) == (4, 4, 4)
    assert decide(Evaluating) == few, "the seed draws the same pictures"
    assert Running.seen[4:] == first
    whole = decide(Running)
    assert whole.sample is None
    assert (whole.pictures, whole.agreeing) == (PICTURES, PICTURES), "the network is asked for those that it has not seen yet"
    assert whole.digest == few.digest, "of the folder"


def test_what_is_kept_of_a_flip(
    decide: Callable[[type[Session]], Decisions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Running, "contrary", 0.5)
    decisions = decide(Running)
    assert 0 < len(decisions.flips) == PICTURES - decisions.agreeing < PICTURES
    for flip in decisions.flips:
        assert flip.sha256 == sha256_of(tmp_path / "pictures" / flip.picture)
        assert flip.label is not None
        assert CLASSES[flip.label] == flip.picture.partition("/")[0]
        assert {flip.network, flip.file} == {0, 1}
        assert flip.file_margin == pytest.approx(flip.margin, abs=1e-4), "the two outputs have changed places"
    monkeypatch.setattr(Running, "contrary", np.inf)
    assert decide(Running).flips == ()


@pytest.mark.parametrize(("side", "drawn"), [(64, 1000), (224, 300), (384, 200)])
def test_larger_pictures_are_fewer(side: int, drawn: int) -> None:
    """An evaluation is to take less than a minute; 189 pictures are the fewest that can show 98 %."""
    assert judging.pictures_drawn((side, side)) == drawn


@pytest.mark.parametrize(
    ("agreeing", "sample", "verdict"),
    [
        (200, True, "passed"),
        (199, True, ARITHMETIC_SAMPLED),
        (190, True, "failed"),
        (199, False, "failed"),
    ],
)
def test_the_verdict_says_no_more_than_the_sample(fake_bundle: Path, agreeing: int, sample: bool, verdict: str) -> None:
    drawn = Sample(of=10_000, seed=0, runtime="an evaluation") if sample else None
    decisions = Decisions(pictures=200, agreeing=agreeing, min_agreement=0.98, digest="", broken=0, flips=(), sample=drawn)
    rounding = QuantisationRecord(scheme=Scheme(activations="none"), calibration=None, sqnr_db={})
    manifest = replace(read_manifest(fake_bundle), precision="w8", quantisation=rounding, decisions=decisions)
    assert manifest.verdict == verdict
    assert not list(objections(manifest))
    for impossible, says in (
        (replace(decisions, sample=Sample(of=199, seed=0, runtime="")), "200 pictures were drawn from 199"),
        (replace(decisions, broken=1, sample=Sample(of=200, seed=0, runtime="")), "201 pictures were drawn from 200"),
        (replace(decisions, broken=-1), "-1 pictures could not be decoded"),
    ):
        assert any(says in text for text in objections(replace(manifest, decisions=impossible)))
