"""Module names by order, for files that real converters wrote: every product has its module's name."""

from collections import Counter
from typing import Any

import pytest
from torch import nn

from edgevit_deploy.errors import RunError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.align_names import PRODUCTS, profile_by_module, trace_calls
from edgevit_deploy.model.anatomy import part_of
from edgevit_deploy.session import Session
from runtimes.executorch import ExecuTorchSession
from runtimes.litert import LiteRTSession
from runtimes.ncnn import NcnnSession
from runtimes.torchscript import TorchLiteSession
from tests.helpers import executorch, litert, ncnn, torchscript
from tests.helpers.targets import SmallTarget, images
from tests.helpers.timing import agrees_once

LITE = {"graph": "deploy", "form": THIS_HOST.find_exporter("torchscript").form}
REAL: dict[str, tuple[SmallTarget[Any], type[Session]]] = {
    "torchscript": (torchscript.SMALL, TorchLiteSession),
    "ncnn": (ncnn.SMALL, NcnnSession),
    "litert": (litert.SMALL, LiteRTSession),
    "executorch": (executorch.SMALL, ExecuTorchSession),
}


def converted(target: str, changes: dict[str, Any]) -> tuple[nn.Module, Session]:
    """The module that was converted, and a session of its file, not yet open."""
    small, session_type = REAL[target]
    artifact = small.shared(**changes)
    session = session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1)
    return small.module_for(small.plan_of(**changes)), session


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        ("torchscript", LITE),
        ("ncnn", {}),
        pytest.param("litert", {}, marks=pytest.mark.slow),
        pytest.param("executorch", {}, marks=pytest.mark.slow),
        pytest.param("executorch", {"graph": "original"}, marks=pytest.mark.slow),
    ],
    ids=["torchscript", "ncnn", "litert", "executorch", "executorch-original"],
)
def test_every_part_of_a_real_file_is_named(target: str, changes: dict[str, Any]) -> None:
    """Against the trace itself: each part has as many convolutions and products as its modules have.

    XNNPACK makes a convolution of each BatchNorm of the published graph; there are no others.
    """
    module, session = converted(target, changes)
    with session:
        profile = profile_by_module(session, {"input": images()}, 3, lambda: module)
    assert profile is not None
    assert session.traced_as is not None
    products = [op for op in profile if session.traced_as.get(op.kind, frozenset()) & PRODUCTS]
    trace = trace_calls(module, 1, (64, 64))
    found, expected = (
        Counter(part_of(op.name) for op in products),
        Counter(part_of(call.path) for call in trace if call.kind in PRODUCTS),
    )
    assert not expected - found
    assert (found - expected).total() == sum(call.kind == "aten::batch_norm" for call in trace)
    assert set(expected) - {"LocalProp", "norms"} == {
        "patch embedding",
        "positional encoding",
        "LocalAgg",
        "GlobalSparseAttn",
        "FFN",
        "head",
    }
    assert {part_of(op.name) for op in profile} >= {"norms", "LocalProp"}


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("target", "changes"), [("torchscript", LITE), ("ncnn", {}), ("litert", {}), ("executorch", {})], ids=list(REAL)
)
def test_the_times_of_the_parts_add_up(target: str, changes: dict[str, Any]) -> None:
    module, session = converted(target, changes)
    feeds = {"input": images()}

    def profile_and_whole_ms() -> tuple[float, float]:
        profile = profile_by_module(session, feeds, 3, lambda: module)
        assert profile is not None
        return sum(op.time_ms for op in profile), min(session.time_runs(feeds, 20))

    with session:
        assert agrees_once(profile_and_whole_ms, 0.3, 10)


@pytest.mark.parametrize(("target", "changes"), [("torchscript", LITE), ("ncnn", {})], ids=["torchscript", "ncnn"])
def test_a_file_of_another_network_is_refused(target: str, changes: dict[str, Any]) -> None:
    module, session = converted(target, changes)
    deeper = nn.Sequential(module, nn.Linear(10, 10))
    with session, pytest.raises(RunError, match="the file is not of this network"):
        profile_by_module(session, {"input": images()}, 1, lambda: deeper)
