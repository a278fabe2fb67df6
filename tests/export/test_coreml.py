"""The Core ML target: what is refused, what the written package holds, and that it computes what float64 does."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.errors import ExportError, RunError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.coreml import DATA_FOLDER, MODEL_PATH, PREPROCESS, class_labels, read_package
from edgevit_deploy.spec.description import normalisation_of
from export.coreml import SPECIFICATION_VERSIONS, CoreMLExporter
from export.coreml.convert import CoreMLOptions
from export.coreml.package import CONVERSION_DATE, describe, shown_by, to_be_shown
from export.coreml.twin import compare_with_twin
from runtimes.coreml.reference import MilReferenceSession
from tests.helpers.coreml import (
    LABELS,
    SMALL,
    approximate_a_gelu,
    changed,
    raise_an_epsilon,
    scale_an_attention,
)
from tests.helpers.targets import images, left_in

K = 4
"""The project's own multiple of PyTorch's noise for fp32 Core ML files."""


def options(**changes: Any) -> CoreMLOptions:
    return dataclasses.replace(CoreMLOptions(), **changes)


@pytest.fixture(scope="module")
def plain() -> Artifact:
    return SMALL.shared()


@pytest.fixture(scope="module")
def half() -> Artifact:
    return SMALL.shared(precision="fp16")


def evaluate(artifact: Artifact, inputs: np.ndarray) -> np.ndarray:
    with MilReferenceSession(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
        return session.run({artifact.inputs[0].name: inputs})[artifact.outputs[0].name]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": options(target_os="iOS14")}, "coreml has no --target-os iOS14; use iOS15"),
        ({"takes": "image", "batch": 3}, "holds one picture; use --batch 1"),
        ({"takes": "image", "dynamic_batch": True}, "holds one picture; use --batch 1"),
        ({"options": options(classifier=True), "batch": 2}, "answers for one picture; use --batch 1"),
        ({"options": options(classifier=True), "labels": ()}, "add --labels FILE"),
        ({"options": options(classifier=True), "labels": ("ant",) * 10}, "has 'ant' more than once; rename one"),
        ({"options": options(max_batch=16)}, "--max-batch limits a dynamic batch; add --batch dynamic"),
        ({"options": options(max_side=512)}, "--max-side limits a dynamic image size; add --image-size dynamic"),
        ({"options": options(max_batch=2), "dynamic_batch": True}, "--max-batch 2 is too small; use 3 or more"),
        ({"options": options(max_side=128), "dynamic_size": True}, "--max-side 128 is too small for this model; use 160 or more"),
        ({"precision": "bf16"}, "use --precision fp32 or fp16 or w8 or palette8 or int8"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        CoreMLExporter().refuse(SMALL.plan_of(**changes))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "target_os",
    ["iOS15", *(pytest.param(name, marks=pytest.mark.slow) for name in ("iOS16", "iOS17", "iOS18", "macOS12", "macOS15"))],
)
def test_the_written_file_is_for_the_system_that_was_asked_for(tmp_path: Path, target_os: str) -> None:
    artifact = SMALL.build(SMALL.plan_of(options=options(target_os=target_os), precision="fp16"), tmp_path)
    spec = read_package(artifact.path)
    assert spec.specificationVersion == SPECIFICATION_VERSIONS[target_os] == artifact.facts["specification_version"]
    for feature in (*spec.description.input, *spec.description.output):
        assert feature.type.multiArrayType.dataType == feature.type.multiArrayType.FLOAT32
    inputs = images(1)
    exact, _ = SMALL.truth_and_noise(SMALL.plan_of(), inputs)
    assert np.abs(evaluate(artifact, inputs) - exact).max() < 0.02 * np.abs(exact).max()


def test_the_description_says_what_a_person_needs(plain: Artifact) -> None:
    metadata = read_package(plain.path).description.metadata
    assert "edgevit_xxs" in metadata.shortDescription
    assert "LayerNorm epsilon 1e-06 and 1e-05" in metadata.shortDescription
    assert "Apache-2.0" in metadata.license
    assert '"mean": [0.485, 0.456, 0.406]' in metadata.userDefined["edgevit_deploy.preprocess"]
    assert CONVERSION_DATE not in metadata.userDefined
    assert sum(plain.operators.values()) > 100


@pytest.mark.parametrize("classifier", [False, True])
@pytest.mark.parametrize("takes", ["tensor", "image"])
def test_only_a_classifier_of_pictures_is_announced_to_the_preview(classifier: bool, takes: Any) -> None:
    """Xcode's preview gives a picture, and shows labels."""
    shown = to_be_shown(SMALL.plan_of(options=options(classifier=classifier), takes=takes))
    assert shown.own.get("com.apple.coreml.model.preview.type") == (
        "imageClassifier" if classifier and takes == "image" else None
    )
    assert list(shown.ends) == ["input", *(["classLabel", "classLabel_probs"] if classifier else ["logits"])]
    assert ("0 to 255" in shown.ends["input"]) == (takes == "image")


def test_a_classifier_of_feature_maps_is_refused() -> None:
    with pytest.raises(UsageError, match="--classifier returns classes of a picture, and --task features none"):
        SMALL.exporter.refuse(SMALL.plan_of(options=options(classifier=True), returns="features"))


@pytest.mark.slow
def test_the_preview_is_in_the_written_package() -> None:
    spec = read_package(SMALL.shared(options=options(classifier=True), takes="image").path)
    assert spec.description.metadata.userDefined["com.apple.coreml.model.preview.type"] == "imageClassifier"
    assert shown_by(spec).ends["classLabel"] == "The most probable class"
    assert class_labels(spec) == LABELS


@pytest.mark.slow
def test_a_description_that_was_not_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(spec: Any, shown: Any) -> None:
        describe(spec, shown)
        spec.description.input[0].shortDescription = ""

    monkeypatch.setattr("export.coreml.describe", forget)
    with pytest.raises(ExportError, match=r"model\.mlpackage: description in the written file: .*asked for: "):
        SMALL.build(SMALL.plan_of(), tmp_path)


def test_a_package_says_its_own_normalisation_and_labels(plain: Artifact, tmp_path: Path) -> None:
    said = CoreMLExporter().description(plain)
    assert said is not None
    assert said.labels == (), "it is no classifier"
    assert said.normalisation == normalisation_of(SMALL.plan_of().spec.preprocess, "tensor")
    classifier = CoreMLExporter().description(SMALL.shared(options=options(classifier=True)))
    assert classifier is not None
    assert classifier.labels == LABELS
    for text, error in (
        ("{", "cannot be read"),
        ('{"resize": [1, 1], "crop": [1, 1], "value_range": [1, 1]}', "ZeroDivisionError|zero"),
    ):
        broken = changed(
            plain.path,
            tmp_path / str(len(text)),
            lambda spec, text=text: spec.description.metadata.userDefined.update({PREPROCESS: text}),
        )
        with pytest.raises(RunError, match=error):
            CoreMLExporter().description(dataclasses.replace(plain, path=broken))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_rebuild_is_byte_identical(plain: Artifact, half: Artifact, tmp_path: Path, precision: str) -> None:
    again = SMALL.build(SMALL.plan_of(precision=precision), tmp_path)
    assert tree(again.path) == tree((half if precision == "fp16" else plain).path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.mlpackage"]


def test_float32_is_within_the_noise(plain: Artifact) -> None:
    inputs = images(1)
    exact, noise = SMALL.truth_and_noise(SMALL.plan_of(), inputs)
    assert np.abs(evaluate(plain, inputs) - exact).max() <= K * noise


def test_an_image_is_normalised_inside() -> None:
    plan = SMALL.plan_of(takes="image")
    artifact = SMALL.shared(takes="image")
    (feature,) = read_package(artifact.path).description.input
    assert feature.type.WhichOneof("Type") == "imageType"
    assert (feature.type.imageType.height, feature.type.imageType.width) == (64, 64)
    pixels = np.random.default_rng(6).integers(0, 256, (1, 3, 64, 64)).astype(np.float32)
    exact, noise = SMALL.truth_and_noise(plan, pixels)
    assert np.abs(evaluate(artifact, pixels) - exact).max() <= K * noise
    mean, std = (np.array(values)[:, None, None] for values in (plan.spec.preprocess.mean, plan.spec.preprocess.std))
    by_hand, _ = SMALL.truth_and_noise(SMALL.plan_of(), ((pixels / 255 - mean) / std).astype(np.float32))
    assert np.abs(exact - by_hand).max() <= K * noise
    assert np.abs(exact - SMALL.truth_and_noise(plan, pixels[:, ::-1].copy())[0]).max() > 100 * noise, "BGR must show"


def test_a_classifier_answers_in_the_order_of_its_labels() -> None:
    plan = SMALL.plan_of(options=options(classifier=True))
    artifact = SMALL.shared(options=options(classifier=True))
    assert artifact.outputs[0].name == "probabilities"
    description = read_package(artifact.path).description
    assert description.predictedFeatureName == "classLabel"
    assert description.predictedProbabilitiesName == "classLabel_probs"
    inputs = images(1)
    exact, noise = SMALL.truth_and_noise(plan, inputs)
    assert exact.sum() == pytest.approx(1)
    assert np.abs(evaluate(artifact, inputs) - exact).max() <= K * noise
    assert len(LABELS) == exact.shape[1]


@pytest.mark.slow
def test_free_axes_work_at_other_batches_and_sizes(tmp_path: Path) -> None:
    plan = SMALL.plan_of(dynamic_batch=True, dynamic_size=True)
    artifact = SMALL.build(plan, tmp_path)
    for shape in ((1, 64, 64), (3, 64, 64), (8, 32, 96), (1, 160, 96)):
        inputs = images(*shape)
        exact, noise = SMALL.truth_and_noise(plan, inputs)
        assert np.abs(evaluate(artifact, inputs) - exact).max() <= K * noise, shape
    assert any("Batch 1 to 8" in note for note in artifact.notes)
    assert any("cannot say `multiples of 32`" in note for note in artifact.notes)


def test_half_is_its_twin_but_rounded(half: Artifact) -> None:
    found = half.facts["same_as_fp32_but_rounded"]
    assert found["operators"] > 100
    assert 0 < found["rounded_constants"] <= found["constants"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (approximate_a_gelu, "EXACT"),
        (scale_an_attention, "more than rounding"),
    ],
)
def test_a_half_file_that_is_not_its_twin_is_refused(
    plain: Artifact, half: Artifact, tmp_path: Path, fault: Any, message: str
) -> None:
    """Faults that the tolerance of half precision cannot see."""
    faulty = changed(half.path, tmp_path / "model.mlpackage", fault)
    with pytest.raises(ExportError, match=message):
        compare_with_twin(faulty, plain.path)
    compare_with_twin(half.path, plain.path)


def test_an_epsilon_of_another_size_is_seen_by_the_twin(plain: Artifact, half: Artifact, tmp_path: Path) -> None:
    """The half program is compared with a float32 twin whose epsilon was raised: 1e-5 is not 1e-6 rounded."""
    faulty = changed(plain.path, tmp_path / "model.mlpackage", raise_an_epsilon)
    with pytest.raises(ExportError, match="more than rounding"):
        compare_with_twin(half.path, faulty)


def test_a_converter_error_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import coremltools

    def convert(*args: object, **kwargs: object) -> None:
        raise RuntimeError("\nPyTorch convert function for op 'strange' not implemented.\nand a page more")

    monkeypatch.setattr(coremltools, "convert", convert)
    with pytest.raises(
        ExportError, match=r"^coremltools could not convert the model: PyTorch convert function .* implemented\.$"
    ):
        SMALL.build(SMALL.plan_of(), tmp_path)
    assert left_in(tmp_path) == []


def test_a_damaged_model_file_is_refused(plain: Artifact, tmp_path: Path) -> None:
    faulty = changed(plain.path, tmp_path / "model.mlpackage", lambda spec: None)
    path = faulty / DATA_FOLDER / MODEL_PATH
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(Exception, match="cannot be read"):
        read_package(faulty)
