"""MIL reference evaluation of saved packages: right numbers, every planted fault seen, every foreign package refused."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.coreml import DATA_FOLDER, MODEL_PATH, PACKAGE_MANIFEST, WEIGHTS_PATH, main_operations, read_package
from runtimes.coreml.reference import MilReferenceSession
from tests.helpers.coreml import (
    SMALL,
    approximate_a_gelu,
    changed,
    constant,
    operations,
    raise_an_epsilon,
    scale_an_attention,
    zero_some_weights,
)

K = 4
SPEC_FILE = Path(DATA_FOLDER) / MODEL_PATH
WEIGHTS_FILE = Path(DATA_FOLDER) / WEIGHTS_PATH / "weight.bin"


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return SMALL.shared()


@pytest.fixture
def copy(artifact: Artifact, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact.path, tmp_path / "copy.mlpackage"))


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((1, 3, 64, 64)).astype(np.float32)


def session(artifact: Artifact, path: Path, threads: int | None = 1) -> MilReferenceSession:
    return MilReferenceSession(path, inputs=artifact.inputs, outputs=artifact.outputs, threads=threads)


def error_of(artifact: Artifact, path: Path, inputs: np.ndarray) -> float:
    exact, _ = SMALL.truth_and_noise(SMALL.plan_of(), inputs)
    with session(artifact, path) as opened:
        return float(np.abs(opened.run({"input": inputs})["logits"] - exact).max())


def test_it_is_never_called_core_ml(artifact: Artifact) -> None:
    assert MilReferenceSession.name == "MIL reference evaluation"
    assert not MilReferenceSession.executes_target


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_the_saved_program_computes_what_float64_does(artifact: Artifact, inputs: np.ndarray, threads: int | None) -> None:
    exact, noise = SMALL.truth_and_noise(SMALL.plan_of(), inputs)
    with session(artifact, artifact.path, threads) as opened:
        assert np.abs(opened.run({"input": inputs})["logits"] - exact).max() <= K * noise


@pytest.mark.parametrize("fault", [scale_an_attention, approximate_a_gelu, raise_an_epsilon])
def test_a_fault_in_the_program_is_seen(
    artifact: Artifact, tmp_path: Path, inputs: np.ndarray, fault: Callable[[Any], None]
) -> None:
    dim = inputs / 100  # a wrong epsilon shows where the variance is small
    faulty = changed(artifact.path, tmp_path / "faulty.mlpackage", fault)
    ratios = [error_of(artifact, faulty, x) / SMALL.truth_and_noise(SMALL.plan_of(), x)[1] for x in (inputs, dim)]
    assert max(ratios) > 2 * K


def test_a_fault_in_the_weights_is_seen(artifact: Artifact, copy: Path, inputs: np.ndarray) -> None:
    zero_some_weights(copy)
    assert error_of(artifact, copy, inputs) > 100 * K * SMALL.truth_and_noise(SMALL.plan_of(), inputs)[1]


def test_a_program_is_read_from_where_it_is(artifact: Artifact, copy: Path, inputs: np.ndarray) -> None:
    away = copy.rename(copy.with_name("away.mlpackage"))
    assert error_of(artifact, away, inputs) == error_of(artifact, artifact.path, inputs)


def test_an_unknown_operator_is_named(artifact: Artifact, tmp_path: Path) -> None:
    def rename(spec: Any) -> None:
        operations(spec, "softmax")[0].type = "sparsemax"

    faulty = changed(artifact.path, tmp_path / "faulty.mlpackage", rename)
    with pytest.raises(RunError, match=r"MIL op sparsemax is not known .* known: add, avg_pool"), session(artifact, faulty):
        pass


def test_a_nested_block_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    def nest(spec: Any) -> None:
        operations(spec, "softmax")[0].blocks.add()

    faulty = changed(artifact.path, tmp_path / "faulty.mlpackage", nest)
    with pytest.raises(RunError, match="MIL op softmax holds a nested block"), session(artifact, faulty):
        pass


def test_an_operand_that_is_not_implemented_is_named(artifact: Artifact, tmp_path: Path) -> None:
    def other_mode(spec: Any) -> None:
        constant(spec, operations(spec, "gelu")[0], "mode").strings.values[0] = "QUICK"

    faulty = changed(artifact.path, tmp_path / "faulty.mlpackage", other_mode)
    with pytest.raises(RunError, match="gelu"), session(artifact, faulty) as opened:
        opened.run({"input": np.zeros((1, 3, 64, 64), np.float32)})


def test_a_program_that_contradicts_itself_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    def cut(spec: Any) -> None:
        block = next(iter(spec.mlProgram.functions["main"].block_specializations.values()))
        index = next(i for i, operation in enumerate(block.operations) if operation.type == "softmax")
        del block.operations[index]

    faulty = changed(artifact.path, tmp_path / "faulty.mlpackage", cut)
    with pytest.raises(RunError, match=r"coremltools cannot read the program .*; convert again"), session(artifact, faulty):
        pass


@pytest.mark.slow
def test_shapes_that_the_description_does_not_allow_are_refused() -> None:
    free = SMALL.shared(dynamic_batch=True)
    with (
        session(free, free.path) as opened,
        pytest.raises(RunError, match=r"does not allow 'input' to have shape \(9, 3, 64, 64\); .*--max-batch"),
    ):
        opened.run({"input": np.zeros((9, 3, 64, 64), np.float32)})


class TestPackagesThatAreRefused:
    """Nothing outside a package is read, and whatever is wrong is one clear line."""

    def refused(self, artifact: Artifact, path: Path, message: str) -> None:
        with pytest.raises(RunError, match=message) as caught, session(artifact, path):
            pass
        assert "\n" not in str(caught.value)

    def test_a_file_or_nothing(self, artifact: Artifact, tmp_path: Path) -> None:
        (tmp_path / "model.mlpackage").write_bytes(b"x")
        self.refused(artifact, tmp_path / "model.mlpackage", "not a folder")
        self.refused(artifact, tmp_path / "missing.mlpackage", "not a folder")

    def test_a_link(self, artifact: Artifact, copy: Path, tmp_path: Path) -> None:
        (tmp_path / "elsewhere.bin").write_bytes((copy / WEIGHTS_FILE).read_bytes())
        (copy / WEIGHTS_FILE).unlink()
        (copy / WEIGHTS_FILE).symlink_to(tmp_path / "elsewhere.bin")
        self.refused(artifact, copy, "weight.bin is a link, which could lead outside")

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"itemInfoEntries": 3}', "[" * 100_000])
    def test_a_broken_manifest(self, artifact: Artifact, copy: Path, text: str) -> None:
        (copy / PACKAGE_MANIFEST).write_text(text)
        self.refused(artifact, copy, "Manifest.json is missing or damaged")

    def test_a_manifest_that_points_outside(self, artifact: Artifact, copy: Path) -> None:
        manifest = json.loads((copy / PACKAGE_MANIFEST).read_text())
        for entry in manifest["itemInfoEntries"].values():
            entry["path"] = f"../../{entry['path']}"
        (copy / PACKAGE_MANIFEST).write_text(json.dumps(manifest))
        self.refused(artifact, copy, "Manifest.json names")

    @pytest.mark.parametrize("name", ["@model_path/weights/../../../etc/passwd", "/etc/passwd", "@model_path/weights/a/b.bin"])
    def test_weights_outside(self, artifact: Artifact, tmp_path: Path, name: str) -> None:
        def point(spec: Any) -> None:
            for operation in main_operations(spec):
                value = operation.attributes["val"]
                if value.HasField("blobFileValue"):
                    value.blobFileValue.fileName = name
                    return
            raise AssertionError("no weights in a file")

        faulty = changed(artifact.path, tmp_path / "faulty.mlpackage", point)
        self.refused(artifact, faulty, "outside its weights folder; do not use this package")

    def test_cut_weights(self, artifact: Artifact, copy: Path) -> None:
        os.truncate(copy / WEIGHTS_FILE, 10_000)
        self.refused(artifact, copy, "weight.bin is missing or ends before byte")
        (copy / WEIGHTS_FILE).unlink()
        self.refused(artifact, copy, "weight.bin is missing or ends before byte")

    def test_weights_that_end_inside_the_last_tensor(self, artifact: Artifact, copy: Path) -> None:
        os.truncate(copy / WEIGHTS_FILE, (copy / WEIGHTS_FILE).stat().st_size - 8)
        self.refused(artifact, copy, "coremltools cannot read the program")

    def test_garbage_for_a_model(self, artifact: Artifact, copy: Path) -> None:
        (copy / SPEC_FILE).write_bytes(b"\xff" * 100)
        self.refused(artifact, copy, "model.mlmodel cannot be read .*; convert again")

    def test_another_kind_of_model(self, artifact: Artifact, copy: Path) -> None:
        spec = read_package(copy)
        spec.neuralNetwork.layers.add()
        (copy / SPEC_FILE).write_bytes(spec.SerializeToString())
        self.refused(artifact, copy, "holds neuralNetwork, expected an ML Program")

    def test_another_function(self, artifact: Artifact, copy: Path) -> None:
        spec = read_package(copy)
        spec.mlProgram.functions["other"].CopyFrom(spec.mlProgram.functions["main"])
        (copy / SPEC_FILE).write_bytes(spec.SerializeToString())
        self.refused(artifact, copy, r"functions \['main', 'other'\], expected one, main")
