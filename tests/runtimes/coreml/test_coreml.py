"""Core ML itself: the session's own work with a stand-in for Apple's framework, and the real one on a Mac."""

import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtimes.coreml
from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.coreml import read_package
from edgevit_deploy.session import Session
from export.coreml.convert import CoreMLOptions
from runtimes.coreml import CoreMLSession, check_types
from runtimes.coreml.reference import MilReferenceSession
from tests.helpers.coreml import LABELS, SMALL


class FakeModel:
    """Stands in for coremltools' MLModel: keeps what it is fed and answers as told."""

    def __init__(self, answer: Mapping[str, Any] | Exception) -> None:
        self.answer = answer
        self.fed: dict[str, Any] = {}

    def predict(self, data: dict[str, Any]) -> Mapping[str, Any]:
        self.fed = data
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture(scope="module")
def artifacts() -> dict[str, Artifact]:
    return {
        "tensor": SMALL.shared(),
        "image": SMALL.shared(takes="image"),
        "classifier": SMALL.shared(options=CoreMLOptions(classifier=True)),
    }


def open_with(monkeypatch: pytest.MonkeyPatch, artifact: Artifact, model: FakeModel) -> CoreMLSession:
    monkeypatch.setattr(runtimes.coreml, "load_model", lambda package: model)
    return CoreMLSession(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs)


def test_it_needs_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    availability = CoreMLSession.probe()
    assert not availability.ok
    assert availability.detail == "Core ML needs macOS"
    assert "edgevit-deploy verify" in availability.fix
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert CoreMLSession.probe().ok


def test_arrays_go_in_and_out_as_they_are(artifacts: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.arange(10, dtype=np.float32)[None]
    model = FakeModel({"logits": logits})
    inputs = np.ones((1, 3, 64, 64), np.float32)
    with open_with(monkeypatch, artifacts["tensor"], model) as session:
        np.testing.assert_array_equal(session.run({"input": inputs})["logits"], logits)
    np.testing.assert_array_equal(model.fed["input"], inputs)


@pytest.mark.parametrize("kind", ["tensor", "image", "classifier"])
@pytest.mark.parametrize("session_type", [CoreMLSession, MilReferenceSession])
def test_an_input_of_another_type_than_the_manifest_says_is_refused(
    artifacts: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch, kind: str, session_type: type[Session]
) -> None:
    monkeypatch.setattr(runtimes.coreml, "load_model", lambda package: FakeModel({}))
    artifact = artifacts[kind]
    (spec,) = artifact.inputs
    with session_type(artifact.path, inputs=(spec,), outputs=artifact.outputs):
        pass
    refused = session_type(artifact.path, inputs=(replace(spec, dtype="uint8"),), outputs=artifact.outputs)
    with pytest.raises(RunError, match="its input 'input' holds float32, the manifest says uint8; convert again"), refused:
        raise AssertionError("it was opened")


def test_an_array_of_another_type_is_named(artifacts: dict[str, Artifact]) -> None:
    description = read_package(artifacts["tensor"].path).description
    check_types(description, artifacts["tensor"].inputs)
    array = description.input[0].type.multiArrayType
    for name in ("FLOAT16", "INT32"):
        array.dataType = getattr(array, name)
        with pytest.raises(RunError, match=f"holds {name}, the manifest says float32"):
            check_types(description, artifacts["tensor"].inputs)


def test_an_image_input_gets_a_picture(artifacts: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64)).astype(np.float32)
    model = FakeModel({"logits": np.zeros((1, 10), np.float32)})
    with open_with(monkeypatch, artifacts["image"], model) as session:
        session.run({"input": pixels})
        assert model.fed["input"].mode == "RGB"
        np.testing.assert_array_equal(np.asarray(model.fed["input"]).transpose(2, 0, 1)[None], pixels)
        for bad in (pixels + 0.5, pixels - 300, pixels + 300):
            with pytest.raises(RunError, match="whole numbers from 0 to 255 only"):
                session.run({"input": bad})


def test_a_dictionary_of_labels_becomes_a_row_in_their_order(
    artifacts: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {label: index / 45 for index, label in enumerate(LABELS)}
    model = FakeModel({"classLabel": LABELS[-1], "classLabel_probs": dict(sorted(answers.items()))})
    with open_with(monkeypatch, artifacts["classifier"], model) as session:
        row = session.run({"input": np.ones((1, 3, 64, 64), np.float32)})["probabilities"]
    np.testing.assert_array_equal(row, np.arange(10, dtype=np.float32)[None] / np.float32(45))


def test_what_core_ml_says_is_one_error(artifacts: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeModel(Exception("compute failed"))
    with (
        open_with(monkeypatch, artifacts["tensor"], model) as session,
        pytest.raises(RunError, match=r"Core ML \(CPU\) cannot run model.mlpackage: compute failed"),
    ):
        session.run({"input": np.ones((1, 3, 64, 64), np.float32)})

    def load_model(package: Path) -> None:
        raise Exception("no such operator")

    session = open_with(monkeypatch, artifacts["tensor"], model)
    monkeypatch.setattr(runtimes.coreml, "load_model", load_model)
    with pytest.raises(RunError, match=r"cannot load model\.mlpackage: no such operator"), session:
        pass


@pytest.mark.skipif(platform.system() != "Darwin", reason="Core ML itself needs macOS")
@pytest.mark.parametrize("kind", ["tensor", "image", "classifier"])
def test_core_ml_itself_computes_what_float64_does(artifacts: dict[str, Artifact], kind: str) -> None:
    plan = {
        "tensor": SMALL.plan_of(),
        "image": SMALL.plan_of(takes="image"),
        "classifier": SMALL.plan_of(options=CoreMLOptions(classifier=True)),
    }[kind]
    inputs = np.random.default_rng(5).integers(0, 256, (1, 3, 64, 64)).astype(np.float32)
    if kind != "image":
        inputs = inputs / 64 - 2
    exact, noise = SMALL.truth_and_noise(plan, inputs)
    artifact = artifacts[kind]
    with CoreMLSession(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
        outputs = session.run({"input": inputs})[artifact.outputs[0].name]
    assert np.abs(outputs - exact).max() <= 4 * noise
