import importlib
import sys
import textwrap
import time

import pytest

from edgevit_deploy.formats.tensorrt import probe
from edgevit_deploy.formats.tensorrt.probe import Capability, ask_child, describe


def child(code):
    return [sys.executable, "-c", textwrap.dedent(code)]


GOOD_LINE = '{"can_import": true, "can_build": true, "can_run": false, "version": "1.7", "gpu": "", "reason": "no NVIDIA driver"}'


def test_the_last_line_of_the_child_is_its_report():
    found = ask_child(child(f"print('a library that chats'); print('{GOOD_LINE}')"), timeout_s=60)
    assert found == Capability(can_import=True, can_build=True, version="1.7", reason="no NVIDIA driver")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"import os; print('{GOOD_LINE}', flush=True); os._exit(139)", "ended with status 139"),
        (
            f"import os, signal; print('{GOOD_LINE}', flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
            "its probe was killed by SIGSEGV",
        ),
        ("", "printed no report"),
        ("print('not JSON')", "printed no report"),
        ("print('{}{}')", "printed no report"),
        ("print('[]')", "printed no report"),
        ("""print('{"can_run": "yes"}')""", "printed no report"),
        ("print(None)", "printed no report"),
        ("raise TypeError('factory function returned nullptr')", "TypeError: factory function returned nullptr"),
        ("import no_such_tensorrt", "No module named 'no_such_tensorrt'"),
        ("import os; os.write(1, bytes([255, 254]))", "printed no report"),
    ],
)
def test_a_broken_child_means_that_nothing_works(code, reason):
    found = ask_child(child(code), timeout_s=60)
    assert found == Capability(reason=found.reason)
    assert reason in found.reason


def test_a_child_that_hangs_is_ended():
    start = time.monotonic()
    found = ask_child(child("import time; time.sleep(600)"), timeout_s=1.5)
    assert time.monotonic() - start < 300, "half of what the child sleeps"
    assert found == Capability(reason="its probe did not end within 1.5 s")


def test_a_child_that_cannot_be_started(tmp_path):
    assert "cannot be started (No such file" in ask_child([str(tmp_path / "nowhere")], timeout_s=60).reason


FAKE = """
    import enum, os
    __version__ = "{version}"
    float32 = "float32"
    class Severity(enum.Enum):
        ERROR = 0
    class ILogger:
        def __init__(self): pass
    class NetworkDefinitionCreationFlag:
        STRONGLY_TYPED = 0
    class ActivationType:
        RELU = 0
    class Layer:
        def get_output(self, index): return "tensor"
    class Network:
        def add_input(self, *_): return "tensor"
        def add_activation(self, *_): return Layer()
        def mark_output(self, _): pass
    class Builder:
        def __init__(self, logger):
            {builder}
        def create_network(self, flags): return Network()
        def create_builder_config(self): return "config"
        def build_serialized_network(self, network, config):
            {build}
"""


@pytest.fixture
def fake_library(tmp_path, monkeypatch):
    """Give a maker of fake `tensorrt` packages, which the child finds before any real one."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(version="11.4.0", builder="pass", build="return b'plan'"):
        code = textwrap.dedent(FAKE).format(version=version, builder=builder, build=build)
        (tmp_path / "tensorrt.py").write_text(code)
        importlib.invalidate_caches()
        probe.capability.cache_clear()
        return probe.capability("tensorrt")

    yield make
    probe.capability.cache_clear()


@pytest.fixture
def no_driver():
    if probe.capability("tensorrt-rtx").can_run:
        pytest.skip("this machine has an NVIDIA driver; the fake cannot run on it")


def test_a_library_that_builds_but_has_no_driver(fake_library, no_driver):
    found = fake_library()
    assert (found.can_import, found.can_build, found.can_run) == (True, True, False)
    assert "no NVIDIA driver" in found.reason
    assert describe("tensorrt").startswith("TensorRT 11.4.0 builds, cannot run: no NVIDIA driver")


@pytest.mark.parametrize(
    ("version", "builder", "build", "can_import", "reason"),
    [
        ("11.4.0", "raise TypeError('pybind11: factory function returned nullptr')", "pass", True, "TypeError: pybind11"),
        ("11.4.0", "pass", "return None", True, "build_serialized_network returned None: the library gave no reason"),
        (
            "11.4.0",
            "self.logger = logger",
            "self.logger.log(Severity.ERROR, 'CUDA initialization\\nfailure 35'); return None",
            True,
            "returned None: CUDA initialization failure 35",
        ),
        ("8.6.0", "pass", "return b'plan'", True, "too old, 10 or newer is needed"),
        ("11.4.0", "os.kill(os.getpid(), 11)", "pass", False, "its probe was killed by SIGSEGV"),
    ],
)
def test_half_working_libraries(fake_library, version, builder, build, can_import, reason):
    found = fake_library(version, builder, build)
    assert found.can_import is can_import
    assert not found.can_build
    assert not found.can_run
    assert reason in found.reason
    assert describe("tensorrt").startswith("TensorRT")


def test_a_crash_at_exit_is_not_believed(fake_library):
    found = fake_library(builder="import atexit; atexit.register(os._exit, 139)")
    assert found == Capability(reason=found.reason)
    assert "139" in found.reason


def test_the_child_is_asked_once(fake_library, monkeypatch):
    first = fake_library()
    monkeypatch.setattr(probe, "ask_child", lambda *_: pytest.fail("asked again"))
    assert probe.capability("tensorrt") is first


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(probe.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(probe, "ask_child", lambda *_: pytest.fail("asked although it is not there"))
    probe.capability.cache_clear()
    assert probe.capability("tensorrt") == Capability(reason="not installed")
    probe.capability.cache_clear()


def test_the_installed_rtx_builds():
    found = probe.capability("tensorrt-rtx")
    if not found.can_import:
        pytest.skip(f"tensorrt-rtx: {found.reason}; pip install -e '.[tensorrt-rtx]'")
    assert found.can_build
    assert found.can_run is bool(found.gpu and not found.reason)
