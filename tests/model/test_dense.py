"""A Semantic FPN on the four maps: the library's own network, read from files by its keys, and rewritten exactly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.model.checkpoint import read_checkpoint
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.spec import HeadSpec
from tests.helpers.checkpoints import refusal, saved
from tests.helpers.dense import library, segmenter
from tests.helpers.small import tiny_weights

IMAGES = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def built_by_the_library(**options: Any) -> nn.Module:
    network = library().FPN("tu-edgevit_xxs", encoder_weights=None, **options).eval()
    randomise(network, seed=1)
    return network


def loaded(weights: Path, **changes: Any) -> Any:
    return load_model(ModelOrigin(weights=weights, task="segment", **changes))


@pytest.mark.parametrize(
    ("options", "head"),
    [
        ({"classes": 7}, HeadSpec(kind="semantic_fpn")),
        (
            {"classes": 3, "decoder_pyramid_channels": 64, "decoder_segmentation_channels": 32, "decoder_merge_policy": "cat"},
            HeadSpec(kind="semantic_fpn", pyramid_channels=64, head_channels=32, merge="cat"),
        ),
    ],
    ids=["published", "small"],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_network_of_the_library_is_read_by_its_keys(
    options: dict[str, Any], head: HeadSpec, wrapped: bool, tmp_path: Path
) -> None:
    network = built_by_the_library(**options)
    state = {f"module.{key}": tensor for key, tensor in network.state_dict().items()} if wrapped else network.state_dict()
    model = loaded(saved({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "fpn.pth"))
    assert model.spec.head == head
    assert (model.spec.num_classes, model.record.head, model.spec.task) == (options["classes"], head, "segment")
    with torch.no_grad():
        assert torch.equal(model.network(IMAGES), network(IMAGES))
    assert any(f"head for {options['classes']} classes" in note for note in model.notes)


def test_its_own_state_is_read_back(tmp_path: Path) -> None:
    model = segmenter()
    save_file(model.network.state_dict(), tmp_path / "own.safetensors")
    again = loaded(tmp_path / "own.safetensors")
    assert all(torch.equal(again.network.state_dict()[key], tensor) for key, tensor in model.network.state_dict().items())
    assert again.spec.preprocess.fit == "letterbox", "nothing of a picture is cut off unless somebody says so"
    assert any("resize mode letterbox" in note for note in again.notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decoder.p4.skip_conv.bias": None}, "1 missing: decoder.p4.skip_conv.bias"),
        ({"decoder.p9.weight": torch.zeros(3)}, "1 unexpected: decoder.p9.weight"),
        ({"decoder.p4.skip_conv.bias": torch.zeros(3)}, "of another shape: decoder.p4.skip_conv.bias (3,) instead of (64,)"),
        ({"decoder.p5.bias": torch.full((64,), torch.nan)}, "decoder.p5.bias holds 64 NaN"),
        ({"decoder.p5.weight": torch.zeros(64)}, "give a whole FPN"),
        ({"decoder.seg_blocks.0.block.0.block.0.weight": torch.zeros(30, 64, 3, 3)}, "expected a multiple of 32"),
        (
            {"encoder.model.model.blocks2.0.LocalAgg.conv1.bias": None},
            "1 missing: encoder.model.model.blocks2.0.LocalAgg.conv1.bias",
        ),
    ],
)
def test_what_is_not_exactly_such_a_network_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    network = built_by_the_library(classes=3, decoder_pyramid_channels=64, decoder_segmentation_channels=32)
    state = {key: tensor for key, tensor in (network.state_dict() | change).items() if tensor is not None}
    assert said in refusal(saved(state, tmp_path / "fpn.pth"))


def test_a_file_and_a_task_that_do_not_go_together_say_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a classifier, without a head for --task segment; train one"):
        loaded(tiny_weights())
    save_file(segmenter().network.state_dict(), tmp_path / "own.safetensors")
    with pytest.raises(UsageError, match="holds a network for --task segment, not classify; use --task segment"):
        load_model(ModelOrigin(weights=tmp_path / "own.safetensors"))
    with pytest.raises(UsageError, match=r"--num-classes 7 but the head of own\.safetensors has 5 classes"):
        loaded(tmp_path / "own.safetensors", num_classes=7)
    with pytest.raises(UsageError, match="about the parts of a classifier"):
        _ = loaded(tmp_path / "own.safetensors").classifier


def test_a_classifier_with_other_things_beside_it_stays_one(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = {f"encoder.{key}": tensor for key, tensor in load_file(tiny_weights()).items()}
    checkpoint = read_checkpoint(saved(state | {"decoder.p5.weight": torch.zeros(2, 2, 1, 1)}, tmp_path / "both.pth"))
    assert checkpoint.spec.head is None
    assert any("1 tensors beside the network ignored: decoder.p5.weight" in note for note in checkpoint.notes)


@pytest.mark.parametrize("form", [Form(), Form(local_prop="upsample", attention="bmm", norm="mean", memory="channels_last")])
def test_the_rewritten_network_is_the_same_in_float64(form: Form) -> None:
    network = segmenter().network.double()
    rewritten = to_deploy_form(network, form)
    assert rewritten.applied["fold batch norm"] > 0
    with torch.no_grad():
        exact = network(IMAGES.double())
        assert (rewritten.network(IMAGES.double()) - exact).abs().max() < 1e-12 * exact.abs().max()
    head = rewritten.network.get_submodule("head").state_dict()
    assert all(torch.equal(head[key], tensor.double()) for key, tensor in network.head.state_dict().items())


def test_without_the_library_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgevit_deploy.model.dense import semantic_fpn
    from edgevit_deploy.registry import Availability

    absent = Availability(ok=False, detail="not installed", fix="pip install -e '.[segment]'")
    monkeypatch.setattr(semantic_fpn, "requires", lambda *_, extra: absent)
    with pytest.raises(MissingError, match=r"segmentation_models_pytorch: not installed; pip install -e '\.\[segment\]'"):
        load_model(ModelOrigin(model="edgevit_xxs", task="segment"))
