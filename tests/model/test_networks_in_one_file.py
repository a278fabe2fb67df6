"""Several networks in one dictionary: backbone and head are always of the same one, whatever the order of the keys."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.checkpoint import read_checkpoint
from edgevit_deploy.model.peers import make_torchvision_importable
from edgevit_deploy.spec import Task
from tests.helpers.dense import segmenter
from tests.helpers.detectors import as_mmdet, as_torchvision, tiny_detector

State = dict[str, Tensor]


def as_smp() -> State:
    """The state of segmentation_models_pytorch's own network: `encoder.`, `decoder.`, `segmentation_head.`."""
    state = segmenter().network.state_dict()
    return {key.removeprefix("head."): tensor.clone() for key, tensor in state.items()}


def states(kind: str) -> tuple[Task, State]:
    if kind in ("smp", "ours"):
        return "segment", as_smp() if kind == "smp" else dict(segmenter().network.state_dict())
    make_torchvision_importable()
    pytest.importorskip("torchvision")
    network = tiny_detector(1, p7_rectified=kind != "mmdet", anchors=kind)
    return "detect", as_mmdet(network) if kind == "mmdet" else as_torchvision(network)


def moved(state: State, by: float) -> State:
    return {key: tensor + by if tensor.is_floating_point() else tensor for key, tensor in state.items()}


def below(prefix: str, state: State) -> State:
    return {prefix + key: tensor for key, tensor in state.items()}


def shifts(state: State, task: Task, path: Path, alone: State) -> set[float]:
    """By how much the tensors of a file are off those of a network in a file of its own."""
    torch.save(state, path)
    torch.save(alone, path.with_suffix(".alone.pth"))
    read, right = read_checkpoint(path, task).state, read_checkpoint(path.with_suffix(".alone.pth"), task).state
    assert read.keys() == right.keys()
    return {round(float((read[key] - right[key]).double().mean()), 3) for key in right if right[key].is_floating_point()}


@pytest.mark.parametrize("kind", ["torchvision", "mmdet", "smp", "ours"])
@pytest.mark.parametrize("names", [("model.", "ema."), ("student.", "teacher.")])
def test_backbone_and_head_are_of_one_network(kind: str, names: tuple[str, str], tmp_path: Path) -> None:
    task, state = states(kind)
    both = below(names[0], state) | below(names[1], moved(state, 1))
    found = shifts(both, task, tmp_path / "a.pth", state)
    assert len(found) == 1
    back_to_front = dict(reversed(both.items()))
    assert len(shifts(back_to_front, task, tmp_path / "b.pth", state)) == 1
    alone = below(names[0], moved(state, 1))
    assert shifts(alone, task, tmp_path / "c.pth", state) == {1.0}, "negative control: the other one's tensors would be seen"


@pytest.mark.parametrize("kind", ["torchvision", "mmdet", "smp", "ours"])
def test_a_head_of_another_network_is_not_taken(kind: str, tmp_path: Path) -> None:
    """The averaged backbone alone has the shorter prefix; its head is nowhere."""
    task, state = states(kind)
    backbones = {key: tensor for key, tensor in state.items() if key.startswith(("backbone.body.", "encoder."))}
    backbones = backbones or {key: tensor for key, tensor in state.items() if key.startswith("backbone.")}
    torch.save(below("model.", state) | below("ema.", moved(backbones, 1)), tmp_path / "a.pth")
    with pytest.raises(UsageError, match=r"the backbone is under `ema\..*` and no head beside it, only under `model\."):
        read_checkpoint(tmp_path / "a.pth", task)


@pytest.mark.parametrize(("kind", "key"), [("torchvision", "backbone.fpn.extra_blocks.p6.bias"), ("smp", "decoder.p5.bias")])
def test_a_tensor_of_a_head_with_and_without_a_wrapper_is_refused(kind: str, key: str, tmp_path: Path) -> None:
    task, state = states(kind)
    torch.save(state | {f"module.{key}": state[key] + 1}, tmp_path / "a.pth")
    with pytest.raises(UsageError, match="is in it twice, with and without the name of a wrapper"):
        read_checkpoint(tmp_path / "a.pth", task)
    torch.save(below("module.", state), tmp_path / "b.pth")
    assert read_checkpoint(tmp_path / "b.pth", task).spec.task == task, "negative control: a wrapper alone"
