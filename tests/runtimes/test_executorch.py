"""ExecuTorch in a child process: what it computes, with how many threads, and what is refused before it sees a file."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.session import Session
from edgevit_deploy.spec import TensorSpec
from runtimes.executorch import ExecuTorchSession, set_threads
from runtimes.executorch.profile import read_etdump
from tests.helpers.executorch import INPUTS, OUTPUTS, etdump, one_convolution, write_one_convolution
from tests.helpers.hosts import registered


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_one_convolution(tmp_path_factory.mktemp("pte"))


def session(path: Path, threads: int | None = 1, inputs: tuple[TensorSpec, ...] = INPUTS) -> Session:
    return registered("executorch")(path, inputs=inputs, outputs=OUTPUTS, threads=threads)


def image() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)


def altered(path: Path, folder: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert content.count(old) == 1
    (folder / "model.pte").write_bytes(content.replace(old, new))
    return folder / "model.pte"


def test_it_computes_what_float64_does_and_times_it(path: Path) -> None:
    with session(path) as opened:
        # Normalised rows of 4 float32 sums of order 10 (half an ulp 5e-7 each) over a spread of order 1: some ulps, not 20.
        np.testing.assert_allclose(opened.run({"x": image()})["y"], one_convolution(image()), atol=1e-5, rtol=0)
        latencies_ms = opened.time_runs({"x": image()}, 5)
        peak_bytes = opened.peak_memory_bytes()
    assert len(latencies_ms) == 5
    assert all(0 < latency < 5000 for latency in latencies_ms)
    if sys.platform == "linux":
        assert peak_bytes is not None
        assert 20e6 < peak_bytes < 2e9


def test_an_altered_weight_is_seen(path: Path, tmp_path: Path) -> None:
    """The weights 0 to 5, of which 3 becomes 4: nothing refuses the file, but its outputs are others."""
    weights = np.arange(6, dtype="<f4")
    other = np.where(weights == 3, 4, weights).astype("<f4")
    with session(altered(path, tmp_path, weights.tobytes(), other.tobytes())) as opened:
        assert np.abs(opened.run({"x": image()})["y"] - one_convolution(image())).max() > 1e-3


def test_a_damaged_delegate_is_one_line(path: Path, tmp_path: Path) -> None:
    """XNNPACK's own graph, which only XNNPACK reads; its magic is the first that it asks for."""
    bad = altered(path, tmp_path, b"XH00", b"XH99")
    with pytest.raises(RunError, match=r"could not (load|run) model\.pte: ") as caught, session(bad) as opened:
        opened.run({"x": image()})
    assert "\n" not in str(caught.value)


def test_another_backend_is_refused_before_loading(path: Path, tmp_path: Path) -> None:
    bad = altered(path, tmp_path, b"XnnpackBackend", b"OpenvinoBacken")
    with pytest.raises(RunError, match="refused before loading it: it has a delegate for 'OpenvinoBacken'"), session(bad):
        pass


def test_a_cut_off_file_is_one_line(path: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pte").write_bytes(path.read_bytes()[:-100])
    with (
        pytest.raises(RunError, match=r"could not load model\.pte: model\.pte is cut off: \d+ bytes"),
        session(tmp_path / "model.pte"),
    ):
        pass


def test_a_manifest_for_another_shape_is_refused(path: Path) -> None:
    other = (TensorSpec(name="x", shape=(1, 3, 8, 8), dtype="float32"),)
    with (
        pytest.raises(
            RunError, match=r"takes \['float32 \(1, 3, 4, 4\)'\] and returns .*, expected \['float32 \(1, 3, 8, 8\)'\]"
        ),
        session(path, inputs=other),
    ):
        pass


def test_the_pool_has_the_threads_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from executorch.extension.pybindings import _C

    for threads in (1, 2):
        set_threads(threads)
        assert _C._threadpool_get_thread_count() == threads
    monkeypatch.setattr(_C, "_threadpool_get_thread_count", lambda: 7)
    with pytest.raises(RunError, match="ExecuTorch has 7 threads, 1 were asked for"):
        set_threads(1)


def test_an_error_of_a_run_is_ours(path: Path) -> None:
    def execute(_: Any) -> Any:
        raise RuntimeError("it said this\nand more")

    opened = ExecuTorchSession(path, inputs=INPUTS, outputs=OUTPUTS)
    opened._method = execute
    opened._open = True
    with pytest.raises(RunError, match=r"^it said this$"):
        opened.run({"x": image()})


def test_without_executorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    availability = registered("executorch").probe()
    assert (availability.ok, availability.fix) == (False, "pip install -e '.[executorch]'")


def test_a_profile_has_what_runs_inside_the_delegate_and_outside(path: Path) -> None:
    with session(path) as opened:
        profile = opened.profile({"x": image()}, 5)
    assert profile is not None
    kinds = [op.kind for op in profile]
    assert "native_layer_norm" in kinds
    assert {"Fully Connected", "Convolution"} & set(kinds)
    assert all(op.time_ms >= 0 for op in profile)


@pytest.mark.parametrize("content", [b"", b"1234", b"\x08\x00\x00\x00" + bytes(40)])
def test_what_is_no_profile_is_refused(content: bytes) -> None:
    with pytest.raises(RunError, match="without ED00 at its start"):
        read_etdump(content)


def test_a_profile_is_read_run_by_run_and_what_is_no_run_is_left_out() -> None:
    run = [("native_call_native_layer_norm.out", "", 3_000_000), ("DELEGATE_CALL", "Convolution (NHWC, F32) IGEMM #1", 500_000)]
    assert read_etdump(etdump([[*run, ("OPERATOR_CALL", "", 9)], run[:1]])) == (
        (("native_layer_norm", 3.0), ("Convolution", 0.5)),
        (("native_layer_norm", 3.0),),
    )
    assert read_etdump(etdump([run], name="Program::load_method")) == ()


def test_a_damaged_profile_is_one_line() -> None:
    whole = etdump([[("native_call_native_layer_norm.out", "", 3_000_000)]])
    for end in range(12, whole.rindex(b"native_call") + 1):
        with pytest.raises(RunError, match=r"^ExecuTorch wrote a damaged profile: a table of it points outside of it"):
            read_etdump(whole[:end])
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(500):
        damaged = bytearray(whole)
        for place in rng.integers(12, len(whole), 4):
            damaged[place] = rng.integers(256)
        try:
            read_etdump(bytes(damaged))
        except RunError:
            refused += 1
    assert refused > 50
