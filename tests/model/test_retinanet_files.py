"""Checkpoints of RetinaNets as torchvision and mmdetection name them: read exactly, or refused with the reason."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model import dense
from edgevit_deploy.model.checkpoint import read_checkpoint
from edgevit_deploy.model.dense import DenseNetwork
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.model.peers import make_torchvision_importable
from edgevit_deploy.model.variants import find_variant
from edgevit_deploy.spec import HeadSpec
from tests.helpers.detectors import CHANNELS, as_mmdet, as_torchvision, saved, tiny_detector
from tests.helpers.small import tiny_network, tiny_weights

make_torchvision_importable()
pytest.importorskip("torchvision")

State = dict[str, Tensor]


def load(path: Path) -> LoadedModel:
    return load_model(ModelOrigin(weights=path, image_size=(64, 64), task="detect"))


def same_outputs(loaded: LoadedModel, network: DenseNetwork) -> None:
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(loaded.network(x), network(x), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("p6_from", ["c5", "p5"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_names(p6_from: str, suffix: str, tmp_path: Path) -> None:
    network = tiny_detector(1, p6_from=p6_from)
    loaded = load(saved(as_torchvision(network), tmp_path / f"a{suffix}"))
    assert loaded.spec.head == network.spec.head
    assert loaded.spec.num_classes == 5
    assert "as in torchvision, and not in the file: a ReLU before P7, its anchors and its decoding" in loaded.notes
    same_outputs(loaded, network)


def test_mmdetection_names(tmp_path: Path) -> None:
    network = tiny_detector(2, p7_rectified=False, anchors="mmdet")
    loaded = load(saved(as_mmdet(network), tmp_path / "epoch_12.pth"))
    assert loaded.spec.head == network.spec.head
    assert (loaded.record.dialect, loaded.spec.norm_eps) == ("mmdet", 1e-6)
    assert any("as in mmdetection 2 and 3, and not in the file" in note for note in loaded.notes)
    assert (loaded.spec.preprocess.fit, loaded.spec.preprocess.interpolation) == ("pad", "bilinear")
    same_outputs(loaded, network)


@pytest.mark.parametrize("renamed", [as_torchvision, as_mmdet])
def test_an_ablation_that_is_known_by_no_tensor_is_not_read_in_silence(
    renamed: Callable[[DenseNetwork], State], tmp_path: Path
) -> None:
    backbone = replace(find_variant("edgevit_xxs_max"), num_classes=5).with_image_size((64, 64))
    mmdet = renamed is as_mmdet
    head = HeadSpec(
        kind="retinanet",
        pyramid_channels=CHANNELS,
        head_channels=CHANNELS,
        p7_rectified=not mmdet,
        anchors="mmdet" if mmdet else "torchvision",
    )
    network = dense.build(dense.with_head(backbone, head, {})).requires_grad_(False)
    path = saved(renamed(network), tmp_path / "a.pth")
    assert any(note.startswith("read as edgevit_xxs; edgevit_xxs_center, ") for note in load(path).notes)
    chosen = load_model(ModelOrigin(model="edgevit_xxs_max", weights=path, image_size=(64, 64), task="detect"))
    assert chosen.spec.block == backbone.block
    same_outputs(chosen, network)


def test_a_backbone_that_still_has_its_classifier(tmp_path: Path) -> None:
    """The published class has a norm and a head, which a detector does not use."""
    network, classifier = tiny_detector(2, p7_rectified=False, anchors="mmdet"), tiny_network(0).state_dict()
    unused = {f"backbone.{key}": value for key, value in classifier.items() if key.startswith(("norm.", "head."))}
    path = saved(as_mmdet(network) | unused, tmp_path / "a.pth")
    loaded = load(path)
    assert any("is not used" in note for note in loaded.notes)
    same_outputs(loaded, network)


def drop(*names: str) -> Callable[[State], None]:
    return lambda state: [state.pop(name) for name in names] and None


def put(name: str, *shape: int) -> Callable[[State], None]:
    return lambda state: state.__setitem__(name, torch.zeros(shape))


MMDET_FAULTS: dict[str, tuple[Callable[[State], None], str]] = {
    "P6 of the pyramid": (put("neck.fpn_convs.3.conv.weight", CHANNELS, CHANNELS, 3, 3), "on_lateral.*on_output.*on_input"),
    "norms in the neck": (put("neck.lateral_convs.0.bn.weight", CHANNELS), "a norm within the pyramid or the heads"),
    "norms in the head": (put("bbox_head.cls_convs.0.gn.weight", CHANNELS), "a norm within the pyramid or the heads"),
    "no P6 and P7": (
        drop(*(f"neck.fpn_convs.{place}.conv.{part}" for place in (3, 4) for part in ("weight", "bias"))),
        "with P3 to P7",
    ),
    "one anchor": (put("bbox_head.retina_reg.weight", 4, CHANNELS, 3, 3), "expected 9 anchors a position"),
    "three convolutions": (
        drop("bbox_head.reg_convs.3.conv.weight", "bbox_head.reg_convs.3.conv.bias"),
        "2 missing: boxes.conv.3",
    ),
    "five convolutions": (
        put("bbox_head.cls_convs.4.conv.weight", CHANNELS, CHANNELS, 3, 3),
        r"1 unexpected: bbox_head\.cls_convs\.4",
    ),
    "from the first map": (put("neck.lateral_convs.3.conv.weight", CHANNELS, 36, 1, 1), r"1 unexpected: neck\.lateral_convs\.3"),
    "wider heads": (put("bbox_head.cls_convs.0.conv.weight", 32, CHANNELS, 3, 3), "1 of another shape"),
    "a norm of each map": (put("backbone.norm1.weight", 36), r"1 unexpected: backbone\.norm1\.weight"),
}


@pytest.mark.parametrize("fault", MMDET_FAULTS)
def test_what_is_not_exactly_this_is_refused(fault: str, tmp_path: Path) -> None:
    state = as_mmdet(tiny_detector(2, p7_rectified=False, anchors="mmdet"))
    spoil, message = MMDET_FAULTS[fault]
    spoil(state)
    with pytest.raises(UsageError, match=message):
        load(saved(state, tmp_path / "a.pth"))


def test_group_norms_of_torchvision_are_refused(tmp_path: Path) -> None:
    state = as_torchvision(tiny_detector(1)) | {"head.classification_head.conv.0.1.weight": torch.ones(CHANNELS)}
    with pytest.raises(UsageError, match=r"head\.classification_head\.conv\.0\.1\.weight is a norm"):
        load(saved(state, tmp_path / "a.pth"))


@pytest.mark.parametrize(
    "key", ["rpn_head.rpn_conv.weight", "roi_head.bbox_head.fc_cls.weight", "roi_heads.mask_head.0.0.weight"]
)
def test_two_stages_are_refused_in_one_line(key: str, tmp_path: Path) -> None:
    """The remark on torchvision's operators is there where they are not compiled, as beside a CPU build of PyTorch."""
    from torchvision.extension import _has_ops

    state = {name: value for name, value in as_mmdet(tiny_detector(2)).items() if name.startswith("backbone.")}
    path = saved(state | {key: torch.zeros(1)}, tmp_path / "mask_rcnn.pth")
    with pytest.raises(UsageError, match=r"two stages, such as Mask R-CNN.* NMS and RoIAlign .*give a RetinaNet") as refused:
        load(path)
    assert ("roi_align among them" in str(refused.value)) != _has_ops()
    assert "\n" not in str(refused.value)


def test_a_classifier_is_no_detector_and_the_other_way_round(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds a classifier, without a head for --task detect; give .*, or drop --weights"):
        load(tiny_weights())
    path = saved(as_mmdet(tiny_detector(2)), tmp_path / "a.pth")
    assert read_checkpoint(path).spec.task == "detect"
    with pytest.raises(UsageError, match="holds a network for --task detect, not classify; use --task detect"):
        load_model(ModelOrigin(weights=path))
