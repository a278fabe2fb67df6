"""The session against a fake driver that keeps device memory in ordinary memory, and a fake TensorRT that adds it up."""

import sys

import numpy as np
import pytest

from edgevit_deploy.errors import MissingError, RunError
from edgevit_deploy.formats.tensorrt import cuda, probe
from edgevit_deploy.formats.tensorrt.library import message_log
from edgevit_deploy.formats.tensorrt.probe import Capability
from edgevit_deploy.spec import TensorSpec
from runtimes import tensorrt
from runtimes.tensorrt import TensorRTSession
from tests.helpers.fake_cuda import FakeDriver, FakeTensorRT

INPUTS = (TensorSpec(name="input", shape=("batch", 3, 32, 32), dtype="float32"),)
OUTPUTS = (TensorSpec(name="logits", shape=("batch", 4), dtype="float32"),)
GPU = Capability(can_import=True, can_build=True, can_run=True, version="1.7.1", gpu="a fake GPU")


@pytest.fixture
def driver(monkeypatch):
    fake = FakeDriver()
    monkeypatch.setattr(cuda.ctypes, "CDLL", lambda name: fake)
    return fake


@pytest.fixture
def library(driver, monkeypatch):
    fake = FakeTensorRT(driver)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake)
    answers = {"tensorrt-rtx": GPU, "tensorrt": Capability(reason="not installed")}
    monkeypatch.setattr(tensorrt, "capability", answers.__getitem__)
    monkeypatch.setattr(probe, "capability", answers.__getitem__)
    message_log.cache_clear()
    yield fake
    message_log.cache_clear()


@pytest.fixture
def session(tmp_path):
    path = tmp_path / "model.engine"
    path.write_bytes(b"vtrt" + bytes(20) + bytes([1, 7, 1, 116]) + bytes(200))
    return TensorRTSession(path, inputs=INPUTS, outputs=OUTPUTS)


def images(batch):
    return np.random.default_rng(batch).standard_normal((batch, 3, 32, 32), dtype=np.float32)


def test_runs_of_several_batches(session, library, driver):
    with session:
        for batch in (1, 4, 2):
            feeds = images(batch)
            logits = session.run({"input": feeds})["logits"]
            np.testing.assert_allclose(logits, np.repeat(feeds.mean(axis=(1, 2, 3))[:, None], 4, axis=1), rtol=1e-4, atol=1e-6)
    assert not driver.blocks, "device memory was left behind"
    assert driver.calls[-2:] == ["cuStreamDestroy_v2", "cuDevicePrimaryCtxRelease_v2"]


def test_an_input_that_is_not_contiguous(session, library):
    feeds = np.ascontiguousarray(images(2).transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    assert not feeds.flags["C_CONTIGUOUS"]
    with session:
        np.testing.assert_allclose(
            session.run({"input": feeds})["logits"][:, 0], feeds.mean(axis=(1, 2, 3)), rtol=1e-4, atol=1e-6
        )


def test_the_calls_of_one_run_in_their_order(session, library, driver):
    with session:
        session.run({"input": images(1)})
        driver.calls.clear()
        session.run({"input": images(1)})
        assert driver.calls == ["cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize"]


def test_latencies_wait_for_the_stream(session, library, driver):
    with session:
        assert len(session.time_runs({"input": images(1)}, 3)) == 3
        assert driver.calls.count("cuStreamSynchronize") == 3


def test_a_batch_outside_the_profile(session, library):
    with session, pytest.raises(RunError, match=r"does not take 'input' of shape \(5, 3, 32, 32\): outside its batch profile"):
        session.run({"input": images(5)})


def test_a_gpu_that_refuses_the_engine(session, library, driver):
    library.loads = False
    with pytest.raises(RunError, match=r"TensorRT-RTX refused model.engine: no kernel image for compute capability 9.0"), session:
        pass
    assert driver.calls[-1] == "cuDevicePrimaryCtxRelease_v2"


def test_no_execution_context(session, library, driver):
    library.prepares = False
    with pytest.raises(RunError, match=r"cannot prepare model.engine to run: no kernel image"), session:
        pass
    assert driver.calls[-1] == "cuDevicePrimaryCtxRelease_v2"


def test_a_run_that_fails_and_after_it(session, library, driver):
    library.runs = False
    with session:
        with pytest.raises(RunError, match=r"model.engine could not be run: no kernel image"):
            session.run({"input": images(1)})
        driver.fails["cuMemFree_v2"] = 700
    assert driver.calls[-1] == "cuDevicePrimaryCtxRelease_v2"


def test_a_driver_that_fails_says_so(session, library, driver):
    driver.fails["cuMemAlloc_v2"] = 2
    with session, pytest.raises(RunError, match=r"cuMemAlloc_v2 failed with CUDA error 2: fake words for 2"):
        session.run({"input": images(1)})


def test_tensors_that_are_not_the_manifests(session, library):
    library.names = ["input", "probabilities"]
    with (
        pytest.raises(RunError, match=r"has the tensors .*probabilities.*, its manifest says .*logits.*; convert again"),
        session,
    ):
        pass


def test_an_engine_of_a_library_that_cannot_run_here(session, library):
    session.path.write_bytes(b"ftrt" + bytes(20) + bytes([11, 4, 0, 106]) + bytes(200))
    with (
        pytest.raises(MissingError, match=r"an engine of TensorRT 11.4.0.106, which cannot run here: TensorRT unavailable"),
        session,
    ):
        pass


def test_a_file_that_is_no_engine(session, library):
    session.path.write_bytes(b"short")
    with pytest.raises(RunError, match="too short to be an engine; convert again"), session:
        pass


def test_the_gpu_and_its_compute_capability(driver):
    assert cuda.CudaDriver().gpu() == "Fake GPU (compute capability 8.9)"


def test_a_driver_without_a_gpu(driver):
    driver.fails["cuInit"] = 100
    with pytest.raises(MissingError, match=r"finds no usable GPU: cuInit failed with CUDA error 100: fake words for 100"):
        cuda.CudaDriver()


def test_no_driver(monkeypatch):
    def nothing(name):
        raise OSError(name)

    monkeypatch.setattr(cuda.ctypes, "CDLL", nothing)
    with pytest.raises(MissingError, match=r"no NVIDIA driver \(.*not found\), install one"):
        cuda.CudaDriver()


def test_the_probe_says_what_is_missing(monkeypatch):
    answers = {
        "tensorrt-rtx": Capability(can_import=True, can_build=True, version="1.7.1", reason="no NVIDIA driver"),
        "tensorrt": Capability(reason="not installed"),
    }
    monkeypatch.setattr(tensorrt, "capability", answers.__getitem__)
    monkeypatch.setattr(probe, "capability", answers.__getitem__)
    found = TensorRTSession.probe()
    assert not found.ok
    assert "TensorRT-RTX 1.7.1 builds, cannot run: no NVIDIA driver" in found.detail
    assert found.fix == "use a machine with an NVIDIA GPU and driver"
    answers["tensorrt-rtx"] = answers["tensorrt"]
    assert TensorRTSession.probe().fix.endswith(", and there: pip install -e '.[tensorrt-rtx]'")
    answers["tensorrt-rtx"] = GPU
    assert TensorRTSession.probe().ok


def test_nothing_is_loaded_without_a_gpu(session, monkeypatch):
    """An engine from a stranger must not reach native code on a host that could not run it anyway."""
    answers = dict.fromkeys(("tensorrt", "tensorrt-rtx"), Capability(can_import=True, can_build=True, reason="no driver"))
    monkeypatch.setattr(tensorrt, "capability", answers.__getitem__)
    monkeypatch.setattr(probe, "capability", answers.__getitem__)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingError, match="cannot run here: TensorRT-RTX builds, cannot run: no driver"), session:
        pass
