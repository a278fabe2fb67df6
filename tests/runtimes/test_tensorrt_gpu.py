"""Engines on a real GPU: built, loaded, run, and judged by the same gate as every other file (`pytest -m gpu`)."""

import re

import numpy as np
import pytest
import torch

from edgevit_deploy import create_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.parity.gate import check_session
from edgevit_deploy.parity.probes import make_probes
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.spec import INPUTS
from export.tensorrt import TensorRTExporter, TensorRTOptions
from runtimes.tensorrt import TensorRTSession
from tests.helpers.bounds import bound_of
from tests.helpers.small import ends, plan_for, prepared

pytestmark = pytest.mark.gpu
BATCHES = (1, 3)


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def precision(request):
    return request.param


@pytest.fixture(scope="module", params=["tensor", "uint8"])
def takes(request):
    return request.param


@pytest.fixture(scope="module")
def network():
    model = create_model("edgevit_xxs")
    randomise(model, 0)
    return model


@pytest.fixture(scope="module")
def engine(network, precision, takes, tmp_path_factory):
    if not TensorRTSession.probe().ok:
        pytest.skip(f"no engine can run here: {TensorRTSession.probe().detail}")
    plan = plan_for(network.spec, TensorRTOptions(), precision=precision, dynamic_batch=True, takes=takes)
    module = prepared(network, torch.float32, takes)
    return TensorRTExporter().export(module, plan, tmp_path_factory.mktemp("engine"))


def test_it_computes_what_pytorch_computes(engine, network, precision, takes):
    probes = make_probes((224, 224), network.spec.preprocess, takes, 0)
    truth = Reference(network, network.spec.preprocess).truth(probes, ends(takes, "logits"), precision)
    with TensorRTSession(engine.path, inputs=engine.inputs, outputs=engine.outputs) as session:
        report = check_session(session, [truth], bound_of("tensorrt", precision), BATCHES)
    assert report.status == "passed", report.worst
    assert {diff.batch for diff in report.diffs} == set(BATCHES)


def test_the_engine_was_inspected(engine):
    assert engine.facts["inspector"] == "inspector.json"
    assert engine.facts["engine_layers"] >= 1
    assert not any("nothing of it was executed" in note for note in engine.notes)


def test_latencies_are_positive_and_outputs_owned(engine, takes):
    images = np.zeros((1, 3, 224, 224), dtype=INPUTS[takes].dtype)
    with TensorRTSession(engine.path, inputs=engine.inputs, outputs=engine.outputs) as session:
        first = session.run({"input": images})["logits"]
        kept = first.copy()
        session.run({"input": images + 1})
        np.testing.assert_array_equal(first, kept)
        assert min(session.time_runs({"input": images}, 20)) > 0


def test_an_array_of_the_other_type_is_refused(engine, takes):
    (other,) = {"float32", "uint8"} - {INPUTS[takes].dtype}
    with TensorRTSession(engine.path, inputs=engine.inputs, outputs=engine.outputs) as session, pytest.raises(UsageError):
        session.run({"input": np.zeros((1, 3, 224, 224), dtype=other)})


def test_the_snippet_of_the_bundles_readme(engine, precision, takes, monkeypatch):
    if takes != "tensor":
        pytest.skip("of a file of bytes the bundle's README has another one")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA, which the snippet uses")
    (code,) = re.findall(r"```python\n(.*?)```", TensorRTExporter.usage, re.DOTALL)
    if engine.facts["flavor"] == "tensorrt":
        code = code.replace("import tensorrt_rtx as trt", "import tensorrt as trt")
    images = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
    (engine.path.parent / "golden").mkdir(exist_ok=True)
    images.tofile(engine.path.parent / "golden" / "input.f32")
    monkeypatch.chdir(engine.path.parent)
    scope: dict[str, object] = {}
    exec(compile(code, "usage", "exec"), scope)  # our own text
    with TensorRTSession(engine.path, inputs=engine.inputs, outputs=engine.outputs) as session:
        expected = session.run({"input": images})["logits"]
    np.testing.assert_array_equal(scope["outputs"].cpu().numpy(), expected)
