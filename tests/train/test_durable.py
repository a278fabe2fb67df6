"""A file is there whole or not at all, whatever ends its writing; Ctrl-C waits for it."""

import signal
from pathlib import Path

import pytest

from edgevit_deploy.errors import UsageError
from edgevit_deploy.process.interrupts import SIGNALS
from edgevit_deploy.train.durable import replace_durably
from tests.helpers.training import while_flushing


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.usefixtures("listening")
def test_an_interrupt_waits_until_the_file_is_there(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"old")
    while_flushing(monkeypatch, lambda: signal.raise_signal(number))
    with pytest.raises(KeyboardInterrupt):
        replace_durably({first: b"new", second: b"new"})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"first": b"new"}


def test_whatever_ends_it_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        raise SystemExit(3)

    (tmp_path / "file").write_bytes(b"old")
    while_flushing(monkeypatch, end)
    with pytest.raises(SystemExit):
        replace_durably({tmp_path / "file": b"new"})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"file": b"old"}


def test_what_the_system_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=r"folder cannot be written \(.*\); make room or give another --output"):
        replace_durably({tmp_path / "folder": b"new"})
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]
