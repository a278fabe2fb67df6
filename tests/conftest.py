"""Fixtures that several test modules share, and which tests belong to which tier."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling

# PyTorch's threads spin while they wait, which on a busy machine costs four times the work itself. OpenMP reads this once, when
# torch is loaded, and child processes inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
# One thread for each worker and its children: two workers of two threads on two cores take 6 times as long.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from edgevit_deploy.cli import run
from edgevit_deploy.parity import probe_sets
from edgevit_deploy.process.interrupts import INTERRUPTS, SIGNALS
from edgevit_deploy.spec import InputKind
from tests.helpers import shared, tiers
from tests.helpers.fakes import FAKE_COMMAND, register_fake
from tests.helpers.remembered import remembered_noisiest
from tests.helpers.shared import made_once
from tests.helpers.small import tiny_weights


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import the other tests and their fixtures for `-m core`: some import a converter."""
    core_alone = config.option.markexpr == "core"
    return True if core_alone and not tiers.may_hold_core(collection_path) else None


class OneWorkerEach(LoadGroupScheduling):
    """Keeps the tests of one converter that is slow to start on one worker.

    By their names: xdist 3.8 writes its own marks into ids that pytest 9.2 no longer reads.
    """

    def _split_scope(self, nodeid: str) -> str:
        return tiers.converter_of(nodeid) or nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneWorkerEach | None:
    """Take the scheduler above, unless another one was asked for."""
    return OneWorkerEach(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the core tier."""
    for item in items:
        if tiers.is_core(item.path) and not any(item.get_closest_marker(name) for name in ("slow", "nightly")):
            item.add_marker(pytest.mark.core)


@pytest.fixture(scope="session", autouse=True)
def one_folder_for_all_workers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give what is converted once for all tests its place."""
    folder = tmp_path_factory.getbasetemp()
    shared.use((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "shared")


@pytest.fixture(autouse=True)
def one_search_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for the noisiest pictures of a network once, not in every test that converts it."""
    monkeypatch.setattr(probe_sets, "find_noisiest", remembered_noisiest)


@pytest.fixture(autouse=True)
def core_needs_torch_alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """In a run of the core tier, fail the test that imports a converter."""
    before = tiers.converters_among(sys.modules)
    yield
    if request.config.option.markexpr == "core":
        imported = tiers.converters_among(sys.modules) - before
        assert not imported, f"{imported} imported by a test of the core tier; move it, or its path in helpers/tiers.py"


@pytest.fixture
def fake_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the fake target and runtime for one test."""
    register_fake(monkeypatch)


@pytest.fixture
def only_fake(fake_target: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `all` see the fake target alone."""
    import export

    for name in [name for name in export.TARGETS if name != "fake"]:
        monkeypatch.delitem(export.TARGETS, name)


@pytest.fixture(scope="session")
def pristine_bundle() -> Path:
    """A good bundle of the fake target, made once: XXS, 64 x 64, 10 classes. Copy it before changing anything."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            register_fake(monkeypatch)
            tokens = ["fake", "--model", "edgevit_xxs", "--image-size", "64", "--num-classes", "10", "--output", str(folder)]
            assert run(tokens) == 0

    return shared.made_once("fake-bundle", make) / "fake-fp32"


@pytest.fixture
def fake_bundle(pristine_bundle: Path, fake_target: None, tmp_path: Path) -> Path:
    """A copy of the fake target's bundle, for one test."""
    return Path(shutil.copytree(pristine_bundle, tmp_path / "out" / "fake-fp32"))


@pytest.fixture
def expect_error(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command line that must fail with one clear line; return what it said on stderr."""

    def check(code: int, *tokens: object) -> str:
        capfd.readouterr()
        assert run([str(token) for token in tokens]) == code
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        assert "Traceback" not in captured.out
        errors = [line for line in captured.err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1, captured.err
        return errors[0]

    return check


@pytest.fixture
def listening() -> Iterator[None]:
    """Signals as the program handles them, for one test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    INTERRUPTS.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    INTERRUPTS.arrived = False


@pytest.fixture(scope="session")
def small_bundle() -> Path:
    """A good bundle of the fake target, of one block a stage at 32 x 32; link its files, and replace what is to change."""
    return _small_bundle("tensor")


@pytest.fixture(scope="session")
def small_bundle_of_bytes() -> Path:
    """The same, of a file that takes bytes."""
    return _small_bundle("uint8")


def _small_bundle(takes: InputKind) -> Path:
    def make(folder: Path) -> None:
        tokens = ["fake", "--weights", str(tiny_weights()), *FAKE_COMMAND[3:5], "--input", takes, "--output", str(folder)]
        with pytest.MonkeyPatch.context() as monkeypatch:
            register_fake(monkeypatch)
            assert run(tokens) == 0

    return made_once(f"small-fake-bundle-{takes}", make) / "fake-fp32"
