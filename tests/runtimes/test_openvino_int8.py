"""OpenVINO runs an int8 file in integers, or says that it does not."""

import numpy as np
import pytest

import runtimes.openvino as running
from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.openvino import (
    HINTS,
    compile_for_cpu,
    executed_layers,
    integer_layers,
    load_openvino,
    one_convolution,
    other_arithmetic,
    read_ir,
    settings_for,
)
from edgevit_deploy.formats.openvino.integers import integer_weights
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.parity.gate import Truth, check_session
from edgevit_deploy.session import Session
from edgevit_deploy.workbench import open_workbench
from export.openvino import OpenVinoExporter
from runtimes.openvino import OpenVinoSession
from tests.helpers.hosts import registered
from tests.helpers.openvino import cpu_computes_in
from tests.helpers.small import SMALL_SIZE, tiny_weights

EXPORTER = OpenVinoExporter()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, list[Truth]]:
    """The smallest network in int8, two images a run, and what it is judged by."""
    model = load_model(ModelOrigin(weights=tiny_weights(), image_size=SMALL_SIZE))
    with open_workbench(model, THIS_HOST, calibration=CalibrationChoice(pictures="synthetic")) as bench:
        plan = bench.rounded.calibrated(EXPORTER.plan(model.spec, precision="int8", batch=2))
        artifact = EXPORTER.export(bench.module(plan), plan, tmp_path_factory.mktemp("int8"))
        return artifact, bench.truths(plan)


def opened(artifact: Artifact, session_type: type[Session] = OpenVinoSession) -> Session:
    return session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1)


def test_a_batch_of_two_passes_in_the_child(tiny: tuple[Artifact, list[Truth]]) -> None:
    artifact, truths = tiny
    with opened(artifact, registered("openvino")) as session:
        report = check_session(session, truths, EXPORTER.bound("int8"), [2])
    assert report.status == ("passed" if cpu_computes_in("int8") else "built, not run")


def test_every_rounded_layer_executes_in_integers(tiny: tuple[Artifact, list[Truth]]) -> None:
    core = load_openvino().Core()
    model = read_ir(core, tiny[0].path)
    compiled, rounded = compile_for_cpu(core, model, settings_for("int8")), integer_weights(model)
    if cpu_computes_in("int8"):
        assert integer_layers(executed_layers(compiled)) == rounded > 20
        assert other_arithmetic(compiled, HINTS["int8"], rounded) == ""
    assert f"of {rounded + 1} rounded layers in integers" in other_arithmetic(compiled, HINTS["int8"], rounded + 1)
    assert other_arithmetic(compiled, "bf16", rounded) == "this CPU computes in f32 when asked for bf16"


def test_a_float_file_executes_nothing_in_integers() -> None:
    """Negative control of the count."""
    compiled = compile_for_cpu(load_openvino().Core(), one_convolution(), settings_for("fp32"))
    assert integer_layers(executed_layers(compiled)) == 0
    assert other_arithmetic(compiled, "f32", 1) == "this CPU executes 0 of 1 rounded layers in integers"


def test_the_session_says_whether_the_cpu_computes_in_integers() -> None:
    assert registered("openvino").executes("int8") is cpu_computes_in("int8")


def test_a_file_that_is_not_run_in_integers_does_not_pass(
    tiny: tuple[Artifact, list[Truth]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the CPU at hand is: the plugin is made to say that it left some layers in floating point."""
    said = "this CPU executes 3 of 26 rounded layers in integers"
    monkeypatch.setattr(running, "other_arithmetic", lambda *_: said)
    artifact, truths = tiny
    with opened(artifact) as session:
        report = check_session(session, truths, EXPORTER.bound("int8"), [2])
        with pytest.raises(RunError, match=f"not timed: {said}"):
            session.time_runs({"input": np.zeros((2, 3, *SMALL_SIZE), np.float32)}, 1)
    assert report.status == "built, not run"
    assert report.instead == f"{said}, and so it ran model.openvino: passed"
