"""Where Core AI's library has no wheel, no command that would install nothing is recommended."""

import importlib.util
import platform
from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.formats.coreai import available, has_wheel
from export.coreai import CoreAIExporter
from runtimes.coreai.packaged import PackagedCoreAISession
from runtimes.coreai.reference import CoreAIReferenceSession
from tests.helpers.fakes import FAKE_COMMAND


def pretend(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, release: str) -> None:
    """This machine is another one, on which the library is not installed."""
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", release) if system == "Linux" and release else ("", ""))
    monkeypatch.setattr(platform, "mac_ver", lambda: (release if system == "Darwin" else "", ("", "", ""), machine))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if "coreai" in name else find(name, *rest))


HAVE = [("Linux", "x86_64", "2.34"), ("Linux", "x86_64", "2.39"), ("Darwin", "arm64", "26.0"), ("Darwin", "arm64", "26.4.1")]
HAVE_NOT = [
    ("Linux", "x86_64", "2.31"),
    ("Linux", "x86_64", ""),
    ("Linux", "aarch64", "2.39"),
    ("Windows", "AMD64", ""),
    ("Darwin", "x86_64", "26.4"),
    ("Darwin", "arm64", "15.7.2"),
    ("Darwin", "arm64", ""),
]


@pytest.mark.parametrize(("system", "machine", "release"), HAVE)
def test_where_there_is_a_wheel_the_command_is_named(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, release: str
) -> None:
    pretend(monkeypatch, system, machine, release)
    assert has_wheel()
    for each in (CoreAIExporter, CoreAIReferenceSession, PackagedCoreAISession):
        assert "pip install" in each.probe().fix


@pytest.mark.parametrize(("system", "machine", "release"), HAVE_NOT)
def test_where_there_is_none_it_is_said(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, release: str) -> None:
    pretend(monkeypatch, system, machine, release)
    assert not has_wheel()
    for each in (CoreAIExporter, CoreAIReferenceSession, PackagedCoreAISession):
        found = each.probe()
        assert (found.ok, found.detail) == (False, f"Core AI's library has no wheel for this machine ({system} {machine})")
        assert "pip install" not in found.fix


def test_what_is_installed_is_there_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert available("json", extra="coreai").ok


@pytest.mark.parametrize(("machine", "said"), [("x86_64", "pip install"), ("aarch64", "no wheel for this machine")])
def test_the_command_for_several_targets_leaves_it_out(
    monkeypatch: pytest.MonkeyPatch, fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], machine: str, said: str
) -> None:
    import export
    from edgevit_deploy.registry import Availability

    pretend(monkeypatch, "Linux", machine, "2.39")
    missing = Availability(ok=False, detail="not installed", fix="install it")
    for name, line in export.TARGETS.items():
        if name not in ("fake", "coreai"):
            monkeypatch.setattr(line.load(), "probe", classmethod(lambda cls: missing))
    assert run(["all", *FAKE_COMMAND[1:], "--output", str(tmp_path / "out")]) == 0
    lines = capfd.readouterr().err.splitlines()
    (several,) = [line for line in lines if line.startswith("not installed: ")]
    assert "litert" in several
    assert "coreai" not in several
    (alone,) = [line for line in lines if line.startswith("coreai, skipped: ")]
    assert said in alone
