"""The lite interpreter in a child process, here and in the PyTorch 1.13 that Debian ships."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.torchscript import OPERATORS
from edgevit_deploy.session import Session
from export.torchscript.write import quiet, save_for_lite_interpreter, without_positions
from tests.helpers.hosts import registered
from tests.helpers.small import truth_and_noise
from tests.helpers.targets import NETWORK, images
from tests.helpers.torchscript import SMALL

K = 4
DEBIAN_PYTHON = "/usr/bin/python3"
CHECK = Path(__file__).parent.parent / "helpers" / "debian_lite_check.py"


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return SMALL.shared(dynamic_batch=True, dynamic_size=True)


def session(artifact: Artifact, path: Path | None = None) -> Session:
    return registered("torch-lite")(path or artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1)


def error_of(artifact: Artifact, inputs: np.ndarray) -> float:
    exact, _ = truth_and_noise(NETWORK, inputs)
    with session(artifact) as opened:
        return float(np.abs(opened.run({"input": inputs})["logits"] - exact).max())


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64, 64), (1, 96, 160)])
def test_it_computes_what_float64_does(artifact: Artifact, shape: tuple[int, int, int]) -> None:
    inputs = images(*shape)
    assert error_of(artifact, inputs) <= K * truth_and_noise(NETWORK, inputs)[1]


def test_another_number_of_outputs_is_refused(artifact: Artifact) -> None:
    two = (artifact.outputs[0], replace(artifact.outputs[0], name="more"))
    message = "it returned tensors: 1, expected tensors: 2"
    with session(replace(artifact, outputs=two)) as opened, pytest.raises(RunError, match=message):
        opened.run({"input": images()})


def test_a_fault_in_the_weights_is_seen(tmp_path: Path) -> None:
    """One attention's values, 5 % off."""
    module = SMALL.module_for()
    weights = {name: tensor for name, tensor in module.named_parameters() if name.endswith("qkv.weight")}
    with torch.no_grad():
        next(iter(weights.values())).mul_(1.05)
    faulty = SMALL.build(SMALL.plan_of(), tmp_path, module)
    assert error_of(faulty, images()) > 2 * K * truth_and_noise(NETWORK, images())[1]


def test_it_times_runs_inside_the_child(artifact: Artifact) -> None:
    with session(artifact) as opened:
        latencies_ms = opened.time_runs({"input": images()}, 5)
        peak_bytes = opened.peak_memory_bytes()
    assert len(latencies_ms) == 5
    assert all(0 < latency < 5000 for latency in latencies_ms)
    if sys.platform == "linux":
        assert peak_bytes is not None
        assert 50e6 < peak_bytes < 2e9


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing", "text", "a folder"])
def test_a_bad_file_is_one_error(artifact: Artifact, tmp_path: Path, damage: str) -> None:
    data = artifact.path.read_bytes()
    path = tmp_path / "bad.ptl"
    if damage == "cut":
        path.write_bytes(data[: len(data) // 3])
    elif damage == "flipped":
        middle = len(data) // 2  # in a weight
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "a folder":
        path.mkdir()
    with pytest.raises(RunError, match=r"could not load bad\.ptl: ") as caught, session(artifact, path):
        pass
    assert "\n" not in str(caught.value)


def test_an_operator_that_writes_files_is_refused_before_loading(tmp_path: Path) -> None:
    """A lite file can hold `aten::save`; what such a file would do shows in the folder."""
    target = tmp_path / "written_by_the_file"

    path = tmp_path / "evil.ptl"
    with quiet():
        module = torch.jit.script(_writer(target))
        path.write_bytes(without_positions(save_for_lite_interpreter(module)))
    good = SMALL.shared()
    with pytest.raises(RunError, match=r"refused before loading it: .*operator aten::save"), session(good, path):
        pass
    assert not target.exists()


def _writer(target: Path) -> torch.nn.Module:
    class Writer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.target = str(target)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.ops.aten.save(x, self.target)
            return x.mean((2, 3))

    return Writer()


def test_a_failure_while_running_says_what_pytorch_said(artifact: Artifact) -> None:
    with session(artifact) as opened:
        with pytest.raises(RunError, match=r"could not run model\.ptl: shape '\[1, .* is invalid for input of size"):
            opened.run({"input": images(1, 16, 16)})
        opened.run({"input": images()})


def debian(*arguments: object) -> str:
    """Run the check in Debian's PyTorch, without what this environment would add to it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [DEBIAN_PYTHON, str(CHECK), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=300).stdout


@pytest.fixture(scope="module")
def debian_schemas() -> dict[str, int]:
    """The operators of Debian's PyTorch 1.13, or a skip."""
    ask = [DEBIAN_PYTHON, "-c", "import torch; print(torch.__version__)"]
    try:
        version = subprocess.run(ask, check=True, capture_output=True, text=True, timeout=120).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pytest.skip("Debian's python3-torch 1.13 is not installed: apt-get install --no-install-recommends python3-torch")
    if not version.startswith("1.13"):
        pytest.skip(f"python3-torch here is {version}, not 1.13")
    return json.loads(debian("schemas"))


def test_the_table_of_operators_is_that_of_1_13(debian_schemas: dict[str, int]) -> None:
    own = {name: count for name, count in OPERATORS.items() if not name.startswith("prepacked::")}
    assert {name: debian_schemas.get(name) for name in own} == own
    assert not any("scaled_dot_product_attention" in name and "_scaled" not in name for name in debian_schemas)


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64, 64), (1, 96, 160)])
def test_pytorch_1_13_runs_the_file(
    artifact: Artifact, debian_schemas: dict[str, int], tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    """Same bound as here: the older kernels round no worse."""
    inputs = images(*shape)
    (tmp_path / "input.f32").write_bytes(inputs.tobytes())
    debian("run", artifact.path, tmp_path / "input.f32", tmp_path / "output.f32", *shape)
    outputs = np.fromfile(tmp_path / "output.f32", np.float32).reshape(shape[0], 10)
    exact, noise = truth_and_noise(NETWORK, inputs)
    ratio = np.abs(outputs - exact).max() / noise
    assert ratio <= K
