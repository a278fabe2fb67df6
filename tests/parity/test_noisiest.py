"""The search for the pictures on which PyTorch's own float32 error is largest."""

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgevit_deploy.bundle.manifest import ProbesRecord
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.parity.noisiest import KEPT, LEVELS, ROUNDS, find_noisiest
from edgevit_deploy.parity.probe_sets import ProbeSets
from edgevit_deploy.parity.probes import Probes, make_probes, probe_pictures
from edgevit_deploy.parity.reference import Arithmetic, Reference
from edgevit_deploy.spec import InputKind, Precision, Size, imagenet_preprocess
from edgevit_deploy.workbench import Workbench
from tests.helpers.on_pictures import SIZE, trained_model
from tests.helpers.small import ends, small_network, tiny_network

Pictures = Mapping[str, NDArray[np.uint8]]


def search(network: nn.Module, size: Size, takes: InputKind = "tensor", seed: int = 0, photographs: Pictures = {}) -> Probes:  # noqa: B006
    preprocess = imagenet_preprocess(size)
    sets = ProbeSets(Reference(network, preprocess), preprocess, lambda _: photographs, seed)
    return sets.noisiest(size, takes)


def digest(probes: Probes) -> str:
    return hashlib.sha256(repr(probes.names).encode() + probes.inputs.tobytes()).hexdigest()


def pixels(probes: Probes) -> NDArray[np.int64]:
    """(probes, height, width, 3) of inputs that are pictures."""
    return probes.inputs.transpose(0, 2, 3, 1).astype(np.int64)


@pytest.mark.parametrize("takes", ["tensor", "image"])
def test_they_are_reproducible_and_seeded(takes: InputKind) -> None:
    one, two, other = (find(tiny_network(seed=0), takes, seed) for seed in (0, 0, 1))
    assert digest(one) == digest(two) != digest(other)
    assert one.inputs.shape == (KEPT, 3, *SIZE)
    assert one.inputs.dtype == np.float32


def find(network: nn.Module, takes: InputKind, seed: int) -> Probes:
    return find_with(Reference(network, imagenet_preprocess(SIZE)), takes, seed)


def find_with(reference: Reference, takes: InputKind, seed: int) -> Probes:
    """Search as a conversion does; through `search`, tests search once for each network and remember what was found."""
    preprocess = imagenet_preprocess(SIZE)
    probes, pictures = make_probes(SIZE, preprocess, takes, seed), np.stack(list(probe_pictures(SIZE, seed).values()))
    return find_noisiest(reference, probes, pictures, preprocess, takes, seed)


@pytest.mark.slow
def test_another_process_finds_the_same() -> None:
    imports = "from tests.parity.test_noisiest import digest, find, tiny_network"
    script = f"{imports}; print(digest(find(tiny_network(seed=0), 'tensor', 0)))"
    one, two = (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert one == two
    assert len(one.strip()) == 64


def test_they_are_real_pictures_near_the_probes() -> None:
    found = search(tiny_network(seed=0), SIZE, "image")
    pictures = probe_pictures(SIZE, seed=0)
    assert found.inputs.min() >= 0
    assert found.inputs.max() <= 255
    np.testing.assert_array_equal(found.inputs, np.round(found.inputs))
    for name, picture in zip(found.names, pixels(found), strict=True):
        origin = name.removeprefix("near ").rpartition(", ")[0]
        moved = np.abs(picture - pictures[origin].astype(np.int64)).max()
        assert 0 < moved <= ROUNDS * LEVELS


def test_as_tensors_they_are_the_same_kind_of_pictures() -> None:
    """Normalised pixels, which an app can feed; also near the two probes of noise that are none."""
    found, preprocess = search(small_network(seed=0), SIZE), imagenet_preprocess(SIZE)
    mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in (preprocess.mean, preprocess.std))
    levels = (found.inputs.astype(np.float64) * std + mean) * 255
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)


@pytest.mark.parametrize("takes", ["tensor", "image"])
def test_what_is_remembered_is_what_a_run_gives(takes: InputKind) -> None:
    """The search has computed the outputs on the way, and they are not computed again: so they must be those of their probes."""
    reference, afresh = (Reference(tiny_network(seed=0), imagenet_preprocess(SIZE)) for _ in range(2))
    found = find_with(reference, takes, seed=0)
    kinds: tuple[Arithmetic, ...] = ("fp64", "fp32")
    for kind in kinds:
        kept, computed = (some.outputs(found, ends(takes), kind)["logits"] for some in (reference, afresh))
        np.testing.assert_array_equal(kept, computed)
        assert len(np.unique(kept, axis=0)) == KEPT, "another order would be seen"


def test_what_is_remembered_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Reference(tiny_network(seed=0), imagenet_preprocess(SIZE))
    found = find_with(reference, "tensor", seed=0)
    monkeypatch.setattr(reference, "runner", lambda *_: pytest.fail("computed again"))
    assert reference.truth(found, ends(), "fp32").noise["logits"] > 0


def test_their_noise_is_well_above_that_of_the_probes() -> None:
    """For a trained network; and what the search computed on the way is what a run of its own gives."""
    model = trained_model()
    reference = Reference(model.network, model.spec.preprocess)
    sets = ProbeSets(reference, model.spec.preprocess, lambda _: {}, seed=0)
    given, noisiest = (reference.truth(probes(SIZE, "tensor"), ends(), "fp32") for probes in (sets.given, sets.noisiest))
    assert noisiest.noise["logits"] > 1.5 * given.noise["logits"]
    afresh = Reference(model.network, model.spec.preprocess).truth(noisiest.probes, ends(), "fp32")
    np.testing.assert_array_equal(noisiest.outputs["logits"], afresh.outputs["logits"])
    assert noisiest.noise == afresh.noise
    errors = [np.abs(afresh_row).max() for afresh_row in _errors(afresh.probes, model.network)]
    assert errors[0] >= errors[1], "the noisiest first"


def _errors(probes: Probes, network: nn.Module) -> list[NDArray[np.float64]]:
    preprocess = imagenet_preprocess(SIZE)
    exact, own = (Reference(network, preprocess).outputs(probes, ends(), kind)["logits"] for kind in ("fp64", "fp32"))
    return list(own - exact)


class Rough(nn.Module):
    """Its float32 error grows with the difference between neighbouring rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        large = 1e4 * (x[:, :, 1:] - x[:, :, :-1]).abs().mean((2, 3))
        return (x.mean((2, 3)) / 3 + large) - large


def test_photographs_are_searched_around_too() -> None:
    """Nothing is rougher than one of black and white rows, so its neighbours are the noisiest."""
    rows = np.zeros((*SIZE, 3), np.uint8)
    rows[::2] = 255
    assert all("mine.png" in name for name in search(Rough(), SIZE, "image", photographs={"mine.png": rows}).names)
    assert not any("mine.png" in name for name in search(Rough(), SIZE, "image").names)


@pytest.mark.parametrize("name", ["white", "black", "noise", "natural", "saturated stripes"])
def test_a_photograph_may_be_called_like_a_probe(name: str) -> None:
    """Pictures need no suffix; and each probe is still its own picture, whatever another one is called."""
    rows = np.zeros((*SIZE, 3), np.uint8)
    rows[::2] = 255
    found, usual = (search(Rough(), SIZE, "image", photographs={given: rows}) for given in (name, "mine.png"))
    np.testing.assert_array_equal(found.inputs, usual.inputs)
    assert found.names == tuple(known.replace("mine.png", name) for known in usual.names)
    assert np.abs(pixels(found) - rows).max() <= ROUNDS * LEVELS


class Broken(nn.Module):
    """Gives no number at all."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) * float("nan")


def test_a_network_without_finite_outputs_has_probes_too() -> None:
    assert search(Broken(), (32, 32)).inputs.shape == (KEPT, 3, 32, 32)


class Counting(nn.Module):
    """Counts the pictures that it is given in float32."""

    seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counting.seen += len(x) if x.dtype is torch.float32 else 0
        return x.mean((2, 3))


@pytest.mark.parametrize(
    ("size", "neighbours"), [((64, 64), 24), ((128, 128), 24), ((224, 224), 6), ((512, 512), 3), ((1024, 32), 12)]
)
def test_large_pictures_have_fewer_neighbours(size: Size, neighbours: int) -> None:
    """So that the search takes about as long at any size."""
    Counting.seen = 0
    assert len(search(Counting(), size).names) == KEPT
    assert Counting.seen == 8 + neighbours


@pytest.mark.parametrize(("precision", "counts"), [("fp32", [8, KEPT]), ("fp16", [8]), ("bf16", [8])])
def test_in_16_bits_two_pictures_are_no_yardstick(tmp_path: Path, precision: Precision, counts: list[int]) -> None:
    workbench = Workbench(trained_model(), THIS_HOST, tmp_path)
    assert [len(truth.probes.names) for truth in workbench.truths_at([SIZE], ends(), precision)] == counts
    assert ("near them" in ProbesRecord(synthetic=8, photographs=0, noisiest=sum(counts[1:])).sentence()) == (precision == "fp32")
