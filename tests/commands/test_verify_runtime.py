"""`verify --runtime`: which of a target's runtimes judges, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import runtimes
from edgevit_deploy.cli import run
from edgevit_deploy.registry import Availability
from tests.helpers.fakes import FAKE_RUNTIME, FakeSession


class SecondSession(FakeSession):
    name = "second runtime"


class AbsentSession(FakeSession):
    name = "absent runtime"

    @classmethod
    def probe(cls) -> Availability:
        return Availability(ok=False, detail="no such device", fix="buy one")


@pytest.fixture(autouse=True)
def more(fake_target: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, cls in (("second", SecondSession), ("absent", AbsentSession)):
        line = replace(FAKE_RUNTIME, name=name, location=f"{__name__}:{cls.__name__}")
        monkeypatch.setitem(runtimes.RUNTIMES, name, line)
        monkeypatch.setattr(type(line), "load", lambda self: globals().get(self.location.split(":")[1], FakeSession))


@pytest.mark.parametrize(("flags", "name"), [((), "fake runtime"), (("--runtime", "second"), "second runtime")])
def test_the_runtime_that_was_asked_for_judges(
    fake_bundle: Path, capfd: pytest.CaptureFixture[str], flags: tuple[str, ...], name: str
) -> None:
    capfd.readouterr()
    assert run(["verify", str(fake_bundle), *flags, "--json"]) == 0
    (document,) = json.loads(capfd.readouterr().out)
    assert document["golden"]["runtime"] == name


def test_one_that_does_not_work_here_is_not_passed(fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(fake_bundle), "--runtime", "absent"]) == 3
    assert "absent: no such device (buy one)" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--runtime", "secnd"), "no runtime 'secnd'"),
        (
            ("--runtime", "onnxruntime"),
            "files of onnx, this one is of fake; use --runtime fake or second or absent",
        ),
        (("--runtime", "second", "--on-arm64", "sysroot"), "use one of them"),
    ],
)
def test_what_cannot_be_is_refused(
    fake_bundle: Path, capfd: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    assert run(["verify", str(fake_bundle), *flags]) == 2
    assert message in " ".join(capfd.readouterr().err.split())
