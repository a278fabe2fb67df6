"""The OpenVINO target: what was written is what was converted, for all three precisions, under names that do not change."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.openvino import BIN_NAME, XML_NAME, load_openvino, read_ir
from edgevit_deploy.spec import Precision
from export.openvino import OpenVinoExporter, convert, name_ends
from export.openvino.graph import check_same_graph, count_operators
from tests.helpers.bounds import bound_of
from tests.helpers.openvino import SMALL
from tests.helpers.small import truth_and_noise
from tests.helpers.targets import NETWORK, images

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")


@pytest.fixture(scope="module")
def artifacts() -> dict[Precision, Artifact]:
    return {precision: SMALL.shared(precision=precision) for precision in PRECISIONS}


def read(artifact: Artifact, name: str) -> bytes:
    return (artifact.path / name).read_bytes()


def test_two_files_are_all_that_is_written(artifacts: dict[Precision, Artifact]) -> None:
    for artifact in artifacts.values():
        assert sorted(path.name for path in artifact.path.parent.rglob("*")) == [BIN_NAME, "model.openvino", XML_NAME]


def test_the_facts_are_those_of_the_file(artifacts: dict[Precision, Artifact]) -> None:
    model = read_ir(load_openvino().Core(), artifacts["fp32"].path)
    operators = artifacts["fp32"].operators
    assert operators.items() <= count_operators(model).items()
    assert not {"Constant", "Parameter", "Result"} & set(operators)
    counts = {"Gelu": 12, "MVN": 23, "MaxPool": 5, "ScaledDotProductAttention": 7}
    assert {name: operators[name] for name in counts} == counts
    assert not {"GroupConvolutionBackpropData", "BatchNormInference"} & set(operators)
    assert set(artifacts["fp32"].facts["weights_by_storage"]) == {"f32"}
    assert set(artifacts["fp16"].facts["weights_by_storage"]) == {"f16"}
    assert artifacts["fp16"].facts["bin_bytes"] < 0.52 * artifacts["fp32"].facts["bin_bytes"]


def test_a_bf16_file_is_the_fp32_file_with_another_hint(artifacts: dict[Precision, Artifact]) -> None:
    """So the float32 bound, which sees what that of bfloat16 cannot, has judged the same graph and weights."""
    assert read(artifacts["bf16"], BIN_NAME) == read(artifacts["fp32"], BIN_NAME)
    hint = b'<INFERENCE_PRECISION_HINT value="%s" />'
    single = read(artifacts["fp32"], XML_NAME)
    assert hint % b"f32" in single
    assert read(artifacts["bf16"], XML_NAME) == single.replace(hint % b"f32", hint % b"bf16")


def test_an_fp16_file_has_the_operators_of_the_fp32_file(artifacts: dict[Precision, Artifact]) -> None:
    half, single = (dict(artifacts[precision].operators) for precision in ("fp16", "fp32"))
    assert half == single
    ir = [count_operators(read_ir(load_openvino().Core(), artifacts[p].path))["Convert"] for p in ("fp16", "fp32")]
    assert ir[0] > ir[1], "conversions of constants, which are no part of it"


def test_a_second_conversion_in_one_process_is_byte_identical(artifacts: dict[Precision, Artifact], tmp_path: Path) -> None:
    """OpenVINO numbers what has no name with how many nodes the process has made."""
    again = SMALL.build(SMALL.plan_of(), tmp_path)
    for name in (XML_NAME, BIN_NAME):
        assert read(again, name) == read(artifacts["fp32"], name)


def test_operators_are_named_after_their_modules(artifacts: dict[Precision, Artifact]) -> None:
    model = read_ir(load_openvino().Core(), artifacts["fp32"].path)
    names = {node.get_friendly_name() for node in model.get_ops()}
    assert "__module.network.blocks1.0.LocalAgg.mlp.body.fc1/aten::_convolution/Convolution" in names


def test_the_original_graph_is_converted_too() -> None:
    """In fp16 as well, where OpenVINO leaves the attention scale, one number, in float32."""
    artifact = SMALL.shared(graph="original", precision="fp16")
    assert artifact.operators["GroupConvolutionBackpropData"] == 5
    assert artifact.facts["weights_by_storage"]["f32"] < 10
    placed = OpenVinoExporter().placements(artifact)["CPU plugin"]
    assert (placed.partitions, placed.outside) == (1, {})
    assert placed.layers == sum(artifact.facts["executed_layers_here"].values()) - 1, "all but the output"


@pytest.fixture(scope="module")
def converted() -> Any:
    model = convert(SMALL.module_for(), SMALL.plan_of())
    name_ends(model, "input", ["logits"])
    return model


class TestAWrittenModelThatIsNotTheConvertedOne:
    @pytest.mark.parametrize(("precision", "storage"), [("fp32", "f32"), ("bf16", "f32"), ("fp16", "f16")])
    def test_control(self, artifacts, converted, precision, storage):
        check_same_graph(read_ir(load_openvino().Core(), artifacts[precision].path), converted, storage)

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_one_wrong_weight(self, artifacts, converted, tmp_path, precision):
        path = Path(shutil.copytree(artifacts[precision].path, tmp_path / "model.openvino"))
        data = bytearray((path / BIN_NAME).read_bytes())
        data[4001] ^= 1
        (path / BIN_NAME).write_bytes(data)
        storage = "f16" if precision == "fp16" else "f32"
        with pytest.raises(ExportError, match=r"weight '.*' is not what was converted, rounded to f\d\d"):
            check_same_graph(read_ir(load_openvino().Core(), path), converted, storage)

    def test_half_weights_do_not_pass_for_float32(self, artifacts, converted):
        """What OpenVINO writes unless it is told otherwise."""
        with pytest.raises(ExportError, match="is stored in f16, asked for: f32"):
            check_same_graph(read_ir(load_openvino().Core(), artifacts["fp16"].path), converted, "f32")

    def test_another_operator(self, artifacts, converted, tmp_path):
        path = Path(shutil.copytree(artifacts["fp32"].path, tmp_path / "model.openvino"))
        text = (path / XML_NAME).read_text()
        (path / XML_NAME).write_text(text.replace('type="Gelu"', 'type="Mish"', 1).replace("opset7", "opset4", 1))
        with pytest.raises(ExportError, match="wrote 11 Gelu operators and had converted 12"):
            check_same_graph(read_ir(load_openvino().Core(), path), converted, "f32")

    def test_another_hint(self, artifacts, converted):
        with pytest.raises(ExportError, match=r"settings in the written file: .*'bf16'.*asked for: .*'f32'"):
            OpenVinoExporter().check_written(artifacts["bf16"].path, SMALL.plan_of(), converted)

    def test_another_shape(self, artifacts, converted):
        with pytest.raises(ExportError, match="OpenVINO wrote what it could not run: it has the inputs and outputs"):
            OpenVinoExporter().check_written(artifacts["fp32"].path, SMALL.plan_of(batch=2), converted)


class Unconvertible(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvalsh(x[:, :, :3, :3]).flatten(1)


class Untraceable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ torch.zeros(3, 5)


@pytest.mark.parametrize(
    ("module", "message"),
    [(Unconvertible, "OpenVINO could not convert the model"), (Untraceable, "PyTorch could not trace the model")],
)
def test_what_cannot_be_converted_is_one_line(tmp_path: Path, module: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        SMALL.build(SMALL.plan_of(), tmp_path, module().eval())
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_notes_name_the_limits(artifacts: dict[Precision, Artifact]) -> None:
    for precision, hint in (("fp32", "=f32"), ("bf16", "=bf16"), ("fp16", "=f16")):
        notes = " ".join(artifacts[precision].notes)
        assert f"INFERENCE_PRECISION_HINT{hint}" in notes
        assert "SNIPPETS_MODE=DISABLE" in notes
        assert "multiples of 32" not in notes


def test_the_usage_snippet_runs(artifacts: dict[Precision, Artifact], tmp_path: Path) -> None:
    """The Python of the bundle's README, at this size, in a process of its own."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "input.f32").write_bytes(images().tobytes())
    shutil.copytree(artifacts["fp32"].path, tmp_path / "model.openvino")
    (snippet,) = re.findall(r"```python\n(.*?)```", OpenVinoExporter.usage, flags=re.DOTALL)
    code = snippet.replace("224", "64") + "np.save('outputs.npy', outputs)\n"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300, capture_output=True, text=True)
    assert said.stdout == ""
    exact, noise = truth_and_noise(NETWORK, images())
    assert np.abs(np.load(tmp_path / "outputs.npy") - exact).max() <= bound_of("openvino", "fp32").k * noise


def test_without_openvino_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    availability = OpenVinoExporter.probe()
    assert (availability.ok, availability.fix) == (False, "pip install -e '.[openvino]'")
