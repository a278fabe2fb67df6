"""What a segmenter's training takes from a checkpoint: the network that is asked for, its classes in order, its preprocessing."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgevit_deploy.model import dense
from edgevit_deploy.model.dense import DenseNetwork
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.variants import create_model
from edgevit_deploy.spec import ModelSpec, PreprocessChoice
from edgevit_deploy.train.dense import dense_beginning
from edgevit_deploy.train.job import TrainingJob
from edgevit_deploy.train.presets import preset
from edgevit_deploy.train.recipe import changed
from edgevit_deploy.train.weights import checkpoint_bytes
from tests.helpers.dense import segmenter

CLASSES = ("a", "b", "c")
AS_IT_IS = PreprocessChoice()


def beginning(
    file: Path, classes: tuple[str, ...] = CLASSES, model: str | None = None, preprocess: PreprocessChoice = AS_IT_IS
) -> tuple[DenseNetwork, tuple[str, ...]]:
    recipe = changed(preset("segment"), {"image_size": 64})
    return dense_beginning(
        TrainingJob(data=file.parent, recipe=recipe, finetune=file, model=model, preprocess=preprocess), classes
    )


def segmenter_file(folder: Path, labels: tuple[str, ...] | None = CLASSES, fit: PreprocessChoice = AS_IT_IS) -> Path:
    """A small segmenter as the training saves it, or its bare tensors."""
    network = segmenter(num_classes=len(labels or CLASSES)).network
    assert isinstance(network, DenseNetwork)
    file = folder / "segmenter.pth"
    if labels is None:
        torch.save(network.state_dict(), file)
    else:
        file.write_bytes(checkpoint_bytes(network.state_dict(), network.spec.with_preprocess(fit), list(labels), {}))
    return file


@pytest.fixture
def alike(tmp_path: Path) -> Path:
    """Tensors that several variants have: they differ in how tokens are sampled."""
    segmenter()
    file = tmp_path / "center.pth"
    torch.save(create_model("edgevit_xxs_center", num_classes=3, image_size=64).state_dict(), file)
    return file


@pytest.mark.parametrize("model", ["edgevit_xxs", "edgevit_xxs_center", "edgevit_xxs_max"])
def test_of_variants_with_the_same_tensors_the_one_that_is_named_is_trained(alike: Path, model: str) -> None:
    network, notes = beginning(alike, model=model)
    spec = create_model(model, image_size=64).spec
    assert (network.spec.variant, network.spec.block) == (model, spec.block)
    assert f"{alike}: {model}, " in notes[0]
    assert not any("have the same tensors" in note for note in notes), "the user has said which"
    state = torch.load(alike, weights_only=True)
    whole = EdgeViT(spec).eval()
    whole.load_state_dict({**whole.state_dict(), **{key: state[key] for key in state if not key.startswith("head.")}})
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.encoder(images)[-1], whole.features(images)[-1]), "it computes what that variant does"


def test_without_a_name_it_is_said_that_others_have_the_same_tensors(alike: Path) -> None:
    _, notes = beginning(alike)
    assert any("have the same tensors: to say otherwise: --model" in note for note in notes)


def head_rows(network: DenseNetwork) -> torch.Tensor:
    weight: torch.Tensor = network.head.get_parameter("segmentation_head.0.weight")
    return weight


@pytest.mark.parametrize("labels", [CLASSES, ("c", "a", "b"), ("b", "a", "c")])
def test_a_head_is_kept_with_each_row_at_its_class(tmp_path: Path, labels: tuple[str, ...]) -> None:
    file = segmenter_file(tmp_path, labels)
    network, notes = beginning(file)
    saved = head_rows(segmenter(num_classes=3).network)  # type: ignore[arg-type]
    assert "its head too: the classes are the same" in notes[0]
    for place, name in enumerate(CLASSES):
        assert torch.equal(head_rows(network)[place], saved[labels.index(name)])
    bias = network.head.get_parameter("segmentation_head.0.bias")
    own = segmenter(num_classes=3).network.head.get_parameter("segmentation_head.0.bias")  # type: ignore[union-attr]
    assert torch.equal(bias, own[[labels.index(name) for name in CLASSES]])


def test_a_head_of_other_classes_is_new_and_one_without_names_is_taken_in_order(tmp_path: Path) -> None:
    saved = head_rows(segmenter(num_classes=3).network)  # type: ignore[arg-type]
    network, notes = beginning(segmenter_file(tmp_path, ("a", "b", "sky")))
    assert "the head is new: its classes have other names" in notes[0]
    assert not torch.equal(head_rows(network), saved)
    network, notes = beginning(segmenter_file(tmp_path, ("a", "b", "c", "d")))
    assert "the head is new, for 3 classes" in notes[0]
    network, notes = beginning(segmenter_file(tmp_path, None))
    assert "which its file does not name, so they are taken to be these in this order" in notes[0]
    assert torch.equal(head_rows(network), saved)


@pytest.mark.parametrize("mode", ["stretch", "cover", "pad", "letterbox"])
def test_a_segmenter_keeps_how_its_pictures_are_resized(tmp_path: Path, mode: str) -> None:
    file = segmenter_file(tmp_path, fit=PreprocessChoice(resize_mode=mode))  # type: ignore[arg-type]
    network, notes = beginning(file)
    assert network.spec.preprocess.fit == mode
    assert any(f"resize mode {mode}" in note and "taken from" in note for note in notes)
    network, notes = beginning(file, preprocess=PreprocessChoice(resize_mode="stretch"))
    assert network.spec.preprocess.fit == "stretch", "a user may say otherwise"
    assert any("though the file tells otherwise" in note for note in notes) == (mode != "stretch")


def classifier_file(folder: Path, change: PreprocessChoice) -> tuple[Path, ModelSpec]:
    network = create_model("edgevit_xxs", num_classes=3, image_size=64)
    spec = network.spec.with_preprocess(change)
    file = folder / "classifier.safetensors"
    file.write_bytes(checkpoint_bytes(network.state_dict(), spec, list(CLASSES), {}))
    return file, spec


def test_a_classifiers_crop_is_not_kept_and_that_is_said(tmp_path: Path) -> None:
    segmenter()
    file, spec = classifier_file(tmp_path, PreprocessChoice(crop_ratio=0.8, mean=(0.1, 0.2, 0.3)))
    network, notes = beginning(file)
    assert network.spec.preprocess == replace(
        spec.preprocess, fit=dense.SHOWN_WHOLE["semantic_fpn"].resize_mode, resize=spec.preprocess.crop
    )
    assert any("crop ratio 0.8" in note and "is not kept" in note for note in notes)
    network, notes = beginning(file, preprocess=PreprocessChoice(resize_mode="stretch"))
    assert network.spec.preprocess.fit == "stretch"
    assert not any("is not kept" in note for note in notes), "the user has said it"
