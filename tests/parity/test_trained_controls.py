"""What a fault does to a trained network: it fails the gate, or what it does to real pictures is less than rounding does.

Under trained weights the inputs of LayerNorm have variances of 0.4 and more, so that its epsilon, 1e-6, hardly matters. Random
weights, under which it does (`test_negative_controls.py`), show that the gate sees a wrong one.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.parity.gate import Truth
from tests.helpers.on_pictures import SIZE, Judged, judged, trained_model
from tests.helpers.small import prepared
from tests.helpers.trained import write_pictures
from tests.parity.test_negative_controls import FAULTS, Reversed, judge, truths_of

UNSEEN = {"tensorrt": {"outer_epsilon", "easycv_epsilon"}, "onnx": {"easycv_epsilon"}}
"""With k = 10, the widest bound, and with 4, that of all other fp32 targets."""

Subject = tuple[EdgeViT, list[Truth]]


@pytest.fixture(scope="module")
def trained() -> Subject:
    network = trained_model().network
    return network, truths_of(network, SIZE)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    return judged(write_pictures(Path(tmp_path_factory.mktemp("val")) / "val", "val", 12), trained_model())


def with_fault(network: EdgeViT, fault: str) -> EdgeViT:
    broken = copy.deepcopy(network)
    FAULTS[fault](broken)
    return broken


def test_the_unchanged_network_passes(trained: Subject) -> None:
    network, truths = trained
    assert all(judge(copy.deepcopy(network), truth, "torchscript").ok for truth in truths)


@pytest.mark.parametrize(
    ("target", "fault"), [(target, fault) for target in UNSEEN for fault in FAULTS if fault not in UNSEEN[target]]
)
def test_a_fault_that_matters_fails(trained: Subject, fault: str, target: str) -> None:
    network, truths = trained
    diffs = [judge(with_fault(network, fault), truth, target) for truth in truths]
    assert any(not diff.ok for diff in diffs), [diff.noise_ratio for diff in diffs]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in UNSEEN["tensorrt"]])
def test_the_longer_yardstick_hides_none_of_the_others(trained: Subject, fault: str) -> None:
    """On the noisiest pictures alone, whose noise is three times that of the probes."""
    network, (_, noisiest) = trained
    assert not judge(with_fault(network, fault), noisiest, "tensorrt").ok


def test_bgr_for_rgb_fails(trained: Subject) -> None:
    network, truths = trained
    assert not any(judge(Reversed(network), truth, "tensorrt").ok for truth in truths)


@pytest.mark.slow
@pytest.mark.parametrize("target", UNSEEN)
def test_what_goes_unseen_stays_within_the_bound_on_real_pictures(trained: Subject, pictures: Judged, target: str) -> None:
    network, (_, noisiest) = trained
    for fault in UNSEEN[target]:
        broken = with_fault(network, fault)
        bound = judge(broken, noisiest, target).tolerance.atol
        moved = np.abs(exactly(broken, pictures) - pictures.exact).max()
        assert moved <= bound, fault
        if fault == "easycv_epsilon":
            assert moved <= pictures.noise.max(), "PyTorch's own rounding does more"


def exactly(network: EdgeViT, pictures: Judged) -> np.ndarray:
    module = prepared(network, torch.float64)
    return torch.cat([module(some) for some in torch.from_numpy(pictures.inputs).double().split(20)]).numpy()
