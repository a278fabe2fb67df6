"""LiteRT in a child process: what it computes, and what a bad file ends in."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.session import Session
from edgevit_deploy.spec import TensorSpec
from runtimes.litert import profile as litert_profile
from tests.helpers.hosts import registered
from tests.helpers.litert import write_handwritten

SHAPE = (1, 3, 4, 4)
X = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def session(path: Path) -> Session:
    return registered("litert")(
        path,
        inputs=(TensorSpec(name="x", shape=SHAPE, dtype="float32"),),
        outputs=(TensorSpec(name="y", shape=SHAPE, dtype="float32"),),
        threads=1,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.tflite"


def message_of(path: Path) -> str:
    """The one line that a bad file ends in."""
    with pytest.raises(RunError) as caught, session(path) as opened:
        opened.run({"x": X})
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("LiteRT (CPU) could not load model.tflite: ")
    return str(caught.value)


def test_a_model_written_by_hand_is_computed_right(path: Path) -> None:
    with session(write_handwritten(path)) as opened:
        np.testing.assert_array_equal(opened.run({"x": X})["y"], 2 * X)


def test_it_times_runs_inside_the_child(path: Path) -> None:
    with session(write_handwritten(path)) as opened:
        latencies_ms = opened.time_runs({"x": X}, 5)
        peak_bytes = opened.peak_memory_bytes()
    assert len(latencies_ms) == 5
    assert all(0 < latency < 5000 for latency in latencies_ms)
    if sys.platform == "linux":
        assert peak_bytes is not None
        assert 20e6 < peak_bytes < 1e9


def test_a_profile_has_every_operator(path: Path) -> None:
    with session(write_handwritten(path)) as opened:
        profile = opened.profile({"x": X}, 5)
        np.testing.assert_array_equal(opened.run({"x": X})["y"], 2 * X)
    assert profile is not None
    assert [op.kind for op in profile] == ["Multiply"]
    assert all(op.time_ms >= 0 for op in profile)


def test_a_profiler_that_refuses_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert_profile, "CPU", 0)  # no accelerator at all
    with pytest.raises(RunError, match=r"LiteRT's profiler does not work here: LiteRt\w+ returned status \d+"):
        litert_profile.profile_runs(write_handwritten(path), X, outputs=1, threads=1, runs=1)


def test_only_operators_are_counted() -> None:
    events = [
        litert_profile.Event(tag=b"Invoke", event_type=1, elapsed_us=9000),
        litert_profile.Event(tag=b"Fully Connected (NC, F32) GEMM", event_type=8, elapsed_us=1500),
        litert_profile.Event(tag=b"CONCATENATION", event_type=2, elapsed_us=250),
        litert_profile.Event(tag=b"Invoke", event_type=32, elapsed_us=1 << 32),
    ]
    assert list(litert_profile.operators(events)) == [("Fully Connected", 1.5), ("CONCATENATION", 0.25)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (1, 3, 4, 5)}, "it has the inputs x float32 (1, 3, 4, 5), expected x float32 (1, 3, 4, 4)"),
        ({"integers": True}, "it has the inputs x int32 (1, 3, 4, 4), expected x float32 (1, 3, 4, 4)"),
        ({"output": "z"}, "it has the outputs z float32 (1, 3, 4, 4), expected y float32 (1, 3, 4, 4)"),
        ({"signatures": ()}, "it has the signatures [], expected ['serving_default']; convert it again"),
        ({"signatures": ("other",)}, "it has the signatures ['other'], expected ['serving_default']; convert it again"),
        ({"signatures": ("other", "serving_default")}, "it has the signatures ['other', 'serving_default'], expected"),
        ({"custom": "Evil"}, "LiteRT does not take it (Encountered unresolved custom op: Evil."),
        (
            {"custom": "FlexErf"},
            "LiteRT does not take it (Select TensorFlow op(s), included in the given model, is(are)",
        ),
    ],
)
def test_another_model_is_one_line(path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in message_of(write_handwritten(path, **changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda good: b"", "it is no .tflite file: bytes 4 to 7 are b'', expected b'TFL3'"),
        (lambda good: b"version https://git-lfs.github.com/spec/v1\n", "it is no .tflite file: bytes 4 to 7 are b'ion '"),
        (lambda good: good[:8], "LiteRT does not take it (The model is not a valid Flatbuffer buffer); copy or convert it again"),
        (lambda good: good[: len(good) // 2], "The model is not a valid Flatbuffer buffer"),
        (lambda good: good[:-8], "The model is not a valid Flatbuffer buffer"),
        (lambda good: good[:8] + np.random.default_rng(1).bytes(500), "The model is not a valid Flatbuffer buffer"),
    ],
)
def test_a_damaged_file_is_one_line(path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    path.write_bytes(damage(write_handwritten(path).read_bytes()))
    assert message in message_of(path)


def test_a_file_that_is_not_there_is_one_line(path: Path) -> None:
    assert "No such file" in message_of(path)


def test_a_crash_of_the_runtime_is_one_line(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that aborts, in place of the real one, which no file that was tried could bring to that."""
    package = tmp_path / "fake" / "ai_edge_litert"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text("import os\nclass Interpreter:\n    def __init__(self, **_):\n        os.abort()\n")
    monkeypatch.syspath_prepend(str(package.parent))
    assert "its process was killed by SIGABRT" in message_of(write_handwritten(path))


def test_the_library_stays_in_the_child(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ai_edge_litert.interpreter", raising=False)
    with session(write_handwritten(path)) as opened:
        opened.run({"x": X})
    assert "ai_edge_litert.interpreter" not in sys.modules


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    availability = registered("litert").probe()
    assert (availability.ok, availability.fix) == (False, "pip install -e '.[litert]'")
