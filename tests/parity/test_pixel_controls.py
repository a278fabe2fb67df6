"""Files that take pixels: bytes and floats have one truth, and each set of probes shows what goes wrong before the network."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgevit_deploy.model.ends import prepare
from edgevit_deploy.parity.bounds import MAX_K, NoiseMultiple
from edgevit_deploy.parity.gate import Truth, compare
from edgevit_deploy.parity.integers import quantised_truths
from edgevit_deploy.parity.natural import VALUES
from edgevit_deploy.parity.probe_sets import ProbeSets
from edgevit_deploy.parity.probes import GOLDEN_PROBES, Probes
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.spec import FloatPrecision, InputKind, Preprocess
from tests.helpers.small import SMALL_SIZE, ends, tiny_network

NETWORK = tiny_network(seed=0)
OWN = NETWORK.spec.preprocess
REFERENCE = Reference(NETWORK, OWN)
SETS = ProbeSets(REFERENCE, OWN, lambda _: {}, seed=0)
PIXELS: list[InputKind] = ["image", "uint8"]
WIDEST = NoiseMultiple(k=MAX_K, reason="the widest that any target has")


def probes_of(name: str, takes: InputKind) -> Probes:
    """A set of probes; those of a bundle's golden data are the first of the given ones."""
    if name == "natural":
        return SETS.natural(SMALL_SIZE, takes, VALUES).first(32)
    if name == "noisiest":
        return SETS.noisiest(SMALL_SIZE, takes)
    given = SETS.given(SMALL_SIZE, takes)
    return given.first(GOLDEN_PROBES) if name == "golden" else given


NAMES = ("given", "golden", "noisiest", "natural")


@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_the_pixels_of_images(name: str) -> None:
    floats, integers = (probes_of(name, takes) for takes in PIXELS)
    assert (floats.inputs.dtype, integers.inputs.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(floats.inputs, integers.inputs)
    assert floats.names == integers.names
    assert integers.inputs.min() < 64
    assert integers.inputs.max() > 191


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_bytes_and_floats_have_one_truth_and_one_noise(precision: FloatPrecision) -> None:
    """What `parity.bounds` says: an input in integers is exact in every precision, so it adds no noise."""
    floats, integers = (REFERENCE.truth(probes_of("given", takes), ends(takes), precision) for takes in PIXELS)
    np.testing.assert_array_equal(floats.outputs["logits"], integers.outputs["logits"])
    assert floats.noise == integers.noise
    assert integers.noise["logits"] > 0


class BeforeTheNetwork(nn.Module):
    """What a file does with its pixels when something is wrong."""

    def __init__(self, change: Callable[[Tensor], Tensor], preprocess: Preprocess, takes: InputKind) -> None:
        super().__init__()
        self.change = change
        self.rest = prepare(NETWORK, preprocess, takes, "logits", torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width) -> logits."""
        y = self.rest(self.change(x.float()))
        assert isinstance(y, Tensor)
        return y


def as_it_is(x: Tensor) -> Tensor:
    return x


def moved(values: tuple[float, float, float], by: float) -> tuple[float, float, float]:
    return (values[0] + by, values[1], values[2])


FAULTS: dict[str, tuple[Callable[[Tensor], Tensor], Preprocess]] = {
    "BGR": (lambda x: x.flip(1), OWN),
    "the mean of one channel off by a level": (as_it_is, replace(OWN, mean=moved(OWN.mean, 1 / 255))),
    "another mean": (as_it_is, replace(OWN, mean=(0.5, 0.5, 0.5))),
    "the deviation of one channel off by 2 %": (as_it_is, replace(OWN, std=moved(OWN.std, 0.02 * OWN.std[0]))),
    "another deviation": (as_it_is, replace(OWN, std=(0.5, 0.5, 0.5))),
    "divided by 256": (lambda x: x * 255 / 256, OWN),
    "not divided": (lambda x: x * 255, OWN),
    "bytes with a sign": (lambda x: torch.where(x > 127, x - 256, x), OWN),
    "rows for columns": (lambda x: x.transpose(2, 3), OWN),
}


def outputs_of(fault: str, probes: Probes, takes: InputKind) -> np.ndarray:
    change, preprocess = FAULTS[fault] if fault else (as_it_is, OWN)
    with torch.no_grad():
        return np.asarray(BeforeTheNetwork(change, preprocess, takes)(torch.from_numpy(probes.inputs)).numpy())


@pytest.mark.parametrize("takes", PIXELS)
@pytest.mark.parametrize("name", NAMES)
def test_what_goes_wrong_before_the_network_is_seen(name: str, takes: InputKind) -> None:
    probes = probes_of(name, takes)
    truth = REFERENCE.truth(probes, ends(takes), "fp32")
    assert compare("logits", outputs_of("", probes, takes), truth, WIDEST, 1).ok
    seen = {fault: not compare("logits", outputs_of(fault, probes, takes), truth, WIDEST, 1).ok for fault in FAULTS}
    assert all(seen.values()), seen


def rounded_weights() -> nn.Module:
    """The network with weights in 8 bits, a scale for each channel: what a quantised file is at least off by."""
    network = copy.deepcopy(NETWORK)
    with torch.no_grad():
        for weight in (parameter for parameter in network.parameters() if parameter.ndim > 1):
            step = weight.flatten(1).abs().amax(1).clamp(min=1e-9).view(-1, *[1] * (weight.ndim - 1)) / 127
            weight.copy_((weight / step).round() * step)
    return network


def test_a_quantised_file_is_held_to_its_pixels_too() -> None:
    """By a measure in which single outputs do not count, on natural pictures alone; faults below its noise are none of its."""
    emulation, probes = rounded_weights(), probes_of("natural", "uint8")
    truths: list[Truth] = quantised_truths(REFERENCE, emulation, [probes], ends("uint8"), "int8", OWN)
    bound = NoiseMultiple(k=1.1, reason="as every quantised target has it")
    for truth in truths:
        assert compare("logits", outputs_of("", truth.probes, "uint8"), truth, bound, 1).ok
        for fault in ("BGR", "another mean", "another deviation", "not divided", "bytes with a sign", "rows for columns"):
            assert not compare("logits", outputs_of(fault, truth.probes, "uint8"), truth, bound, 1).ok, fault
