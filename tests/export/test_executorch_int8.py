"""ExecuTorch in eight bits: integers in XNNPACK's own graph, one delegate, and faults that must be found in the written file."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgevit_deploy.deploy.observe import observe
from edgevit_deploy.deploy.quantised import quantised, stored
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import Stored, differences
from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.executorch.stored import read_stored
from edgevit_deploy.spec import Placement, TensorSpec
from export.executorch import ExecuTorchExporter, lower
from export.executorch.integers import with_integers
from tests.helpers.hosts import registered
from tests.helpers.rounded import RoundedFile, rounded_file
from tests.helpers.rounding_faults import ROUNDING_FAULTS
from tests.helpers.tiers import slow_or_nightly

SCHEME = ExecuTorchExporter.quantised["int8"].scheme
SHAPE = (1, 3, 8, 8)
HIT = "2"
"""The operator that is hit by a fault: the depthwise one in the middle."""


def small_network() -> nn.Module:
    """One operator of each kind, with weights that differ from channel to channel."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 6, 1), Pool())
    network = nn.Sequential(*layers, nn.Linear(6, 4)).eval().requires_grad_(False)
    for module in network:
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight *= torch.logspace(0, 1, len(module.weight)).view(-1, *[1] * (module.weight.dim() - 1))
    return network


class Pool(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((-2, -1))


def pictures() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((16, *SHAPE[1:])).astype(np.float32)


def rounded(scheme: Scheme = SCHEME) -> nn.Module:
    network = small_network()
    return quantised(network, scheme, observe(network, lambda: [pictures()]))


def written(module: nn.Module, folder: Path) -> Path:
    path = folder / "model.pte"
    path.write_bytes(lower(with_integers(module), torch.zeros(SHAPE)).content)
    return path


def expected(scheme: Scheme = SCHEME) -> Stored:
    return stored(rounded(replace(scheme, dialect="trace")))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(rounded(), tmp_path_factory.mktemp("small"))


def test_what_is_stored_is_what_was_rounded(small: Path) -> None:
    found = read_stored(small)
    assert len(found.weights) == 4
    assert differences(found, expected()) == []


def test_it_computes_what_the_rounded_module_does(small: Path) -> None:
    check_arithmetic(small, SCHEME)


@pytest.mark.parametrize("choice", [{"symmetric": True}, {"depthwise": False}, {"floating": ("0",)}])
def test_what_may_be_rounded_otherwise_is_written_and_runs(tmp_path: Path, choice: dict[str, Any]) -> None:
    assert set(choice) <= set(ExecuTorchExporter.quantised["int8"].choices)
    scheme = replace(SCHEME, **choice)
    path = written(rounded(scheme), tmp_path)
    assert differences(read_stored(path), expected(scheme)) == []
    assert differences(read_stored(path), expected()) != []
    check_arithmetic(path, scheme)


def check_arithmetic(path: Path, scheme: Scheme) -> None:
    module = rounded(replace(scheme, dialect="trace"))
    with torch.no_grad():
        emulated = module(torch.from_numpy(pictures())).numpy()
    inputs, outputs = (
        (TensorSpec(name="x", shape=SHAPE, dtype="float32"),),
        (TensorSpec(name="y", shape=(1, 4), dtype="float32"),),
    )
    with registered("executorch")(path, inputs=inputs, outputs=outputs, threads=1) as session:
        found = np.concatenate([session.run({"x": picture[None]})["y"] for picture in pictures()])
    last = module[5].after.grid.scale
    assert np.abs(found - emulated).max() < 2.01 * last
    assert np.median(np.abs(found - emulated)) < 0.01 * last


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("scale doubled", "1 of 7 grids of activations are missing"),
        ("zero point off by one", "1 of 7 grids of activations are missing"),
        ("channels swapped", "the weights of 1 of 4 operators are missing, and of 1 there are others"),
        ("seven bits", "the weights of 1 of 4 operators are missing, and of 1 there are others"),
        ("left float", "the weights of 1 of 4 operators are missing, and of 0 there are others"),
    ],
)
def test_what_is_stored_otherwise_is_found(tmp_path: Path, fault: str, message: str) -> None:
    module = rounded()
    ROUNDING_FAULTS[fault](module, HIT)
    assert message in " ".join(differences(read_stored(written(module, tmp_path)), expected()))


def test_the_same_module_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    assert written(rounded(), tmp_path).read_bytes() == small.read_bytes()


def test_the_module_is_left_as_it_was() -> None:
    module = rounded()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with_integers(module)
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in before.items())


def test_a_damaged_file_is_one_line(small: Path, tmp_path: Path) -> None:
    path, content = tmp_path / "model.pte", small.read_bytes()
    end = int.from_bytes(content[16:24], "little")  # of the program; behind it are its data, the delegate's graph among them
    nameless = content[:end].replace(b"scale_", b"scalf_") + content[end:]
    for damaged in (content.replace(b"XH00", b"XH01"), nameless):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"model\.pte is damaged: a table of its program points outside of it"):
            read_stored(path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundedFile]:
    with rounded_file("executorch", "int8", tmp_path_factory.mktemp("int8")) as file:
        yield file


@pytest.mark.slow
def test_it_is_one_delegate_and_computes_what_its_emulation_does(built: RoundedFile) -> None:
    artifact: Artifact = built.artifact
    assert artifact.placements == {"XNNPACK": Placement(partitions=1, outside={})}
    assert artifact.path.stat().st_size < 0.3 * 15.5e6
    assert len(read_stored(artifact.path).weights) == len(built.plan.ranges or {}) == 84
    notes = " ".join(artifact.notes)
    assert "Takes float32, returns float32" in notes
    assert "Float32 only" not in notes
    assert built.verdict() == "passed"


@slow_or_nightly("executorch", "int8")
def test_the_same_ranges_give_the_same_bytes(built: RoundedFile, tmp_path: Path) -> None:
    assert built.bench.build(built.plan, folder=tmp_path).path.read_bytes() == built.artifact.path.read_bytes()
