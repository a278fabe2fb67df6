"""Text and files from outside: nothing that a terminal obeys, no name that JSON fails on, no file that is waited for."""

import json
import os
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.commands import console
from edgevit_deploy.errors import RunError
from edgevit_deploy.outside.files import is_regular, open_regular, read_bounded, unfinished
from edgevit_deploy.outside.text import json_bytes, one_line, printable, shortened
from edgevit_deploy.process.child import environment
from tests.helpers.bundles import edit_manifest
from tests.helpers.fakes import FAKE_COMMAND

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m \u202epassed\u2066 \r\nstatus: passed \x00\x7f"
OBEYED = [*map(chr, range(32)), "\x7f", *map(chr, range(0x80, 0xA0)), "\u200b", "\u202a", "\u202e", "\u2066", "\u2028", "\ud800"]
ErrorCheck = Callable[..., str]


def obeyed(text: str) -> list[str]:
    return [character for character in text if character in OBEYED and character != "\n"]


@pytest.mark.parametrize("character", OBEYED)
def test_nothing_is_left_that_a_terminal_obeys(character: str) -> None:
    shown = printable(f"a{character}b")
    assert not obeyed(shown)
    assert "\n" not in shown
    assert shown.startswith("a\\")
    assert shown.endswith("b")


@pytest.mark.parametrize("text", ["plain", "Käse, 日本語\u3000字", "🐄 1 \u00a0 2", "", "a\\b [bold]x[/]"])
def test_other_text_is_as_it_was(text: str) -> None:
    assert printable(text) == text


def test_words_of_a_library_are_one_line() -> None:
    assert one_line(" a\n\tb\x1b[0m  c ") == "a b [0m c"
    assert len(one_line("x" * 10_000)) == 500
    assert shortened("9" * 5000) == "9" * 60 + "..."


def test_json_holds_any_name() -> None:
    document = {"file": Path("/tmp/caf\udce9.jpg"), "\udcff": ["\ud800", 1, None, {"a": ("\x1b", 2.5)}]}
    assert json.loads(json_bytes(document)) == {
        "file": "/tmp/caf\\udce9.jpg",
        "\\udcff": ["\\ud800", 1, None, {"a": ["\x1b", 2.5]}],
    }


def test_a_bundle_cannot_write_to_the_terminal(fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def poison(document: dict) -> None:
        document["notes"] = [HOSTILE]
        document["tools"] = {HOSTILE: HOSTILE}
        document["parity"]["runtime"] = HOSTILE
        document["golden"]["probes"] = [HOSTILE, HOSTILE]
        document["options"] = {HOSTILE: [HOSTILE]}

    edit_manifest(fake_bundle, poison)
    other = fake_bundle.rename(fake_bundle.with_name("\x1b[2J\u202e"))
    capfd.readouterr()
    for command in (["inspect", str(other)], ["verify", str(other)], ["report", str(other)], ["inspect", f"{other}x"]):
        run(command)
    captured = capfd.readouterr()
    assert not obeyed(captured.err)
    assert "\\x1b[2J" in captured.err


def test_the_control_without_the_gate_it_could(
    fake_bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "printable", str)
    edit_manifest(fake_bundle, lambda document: document.update(notes=[HOSTILE], target=HOSTILE))
    capfd.readouterr()
    run(["inspect", str(fake_bundle)])
    assert obeyed(capfd.readouterr().err)


@pytest.mark.skipif(os.name != "posix" or sys.platform == "darwin", reason="names that are not UTF-8 are Linux's")
def test_names_that_are_not_utf_8_reach_every_output(
    fake_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = fake_bundle.rename(fake_bundle.with_name(os.fsdecode(b"caf\xe9")))
    capfd.readouterr()
    assert run(["verify", str(other), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)[0]["bundle"].endswith("caf\\udce9")
    assert run(["report", str(other), "--output", str(tmp_path / "page.html")]) == 0
    assert "caf\\udce9" in (tmp_path / "page.html").read_text(encoding="utf-8")


STDOUT = """
import sys
sys.path.insert(0, {root!r})
from edgevit_deploy.cli import run
sys.exit(run(["doctor", "--json"]))
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("how", ["closed", "full", "nobody reads"])
def test_a_stdout_that_takes_nothing_is_one_line(how: str) -> None:
    command = [sys.executable, "-c", STDOUT.format(root=str(Path(__file__).parent.parent.parent))]
    shell = {"closed": '"$@" >&-', "full": '"$@" >/dev/full', "nobody reads": '"$@" | true; exit ${PIPESTATUS[0]}'}[how]
    result = subprocess.run(
        ["bash", "-c", shell, "-", *command], env=environment(), stderr=subprocess.PIPE, text=True, check=False
    )
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert "Traceback" not in result.stderr
    assert (result.returncode, len(errors)) == (1, 1) or (how == "nobody reads" and result.returncode == 0), result.stderr
    assert all("could not be written to stdout" in line for line in errors)


def test_a_broken_stdout_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(console, "_drop_stdout", lambda: None)
    with pytest.raises(RunError, match="it is closed"):
        console.print_json({})


@pytest.fixture
def not_regular(tmp_path: Path) -> dict[str, Path]:
    """One of each kind of file that is none."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    return {path.name: path for path in tmp_path.iterdir()}


@pytest.mark.skipif(os.name != "posix", reason="files of these kinds are POSIX's")
@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "socket"])
def test_only_regular_files_are_opened(not_regular: dict[str, Path], kind: str) -> None:
    assert not is_regular(not_regular[kind])
    with pytest.raises(OSError) as caught:
        open_regular(not_regular[kind])
    assert caught.value.strerror


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 300, "nowhere"])
def test_any_name_may_be_asked_for(tmp_path: Path, name: str) -> None:
    assert not is_regular(tmp_path / name)
    with pytest.raises(OSError) as caught:
        open_regular(tmp_path / name)
    assert caught.value.strerror


def test_no_more_is_read_than_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    os.truncate(path, 2**40)  # sparse: larger than any memory
    with pytest.raises(OSError, match="larger than 5 bytes"):
        read_bounded(path, 5)


def test_a_file_that_says_it_is_empty_is_read_whole(tmp_path: Path) -> None:
    """As those of /proc do; and what is allowed is not set aside before it is there."""
    path = tmp_path / "small"
    path.write_bytes(b"12345")
    tracemalloc.start()
    try:
        assert read_bounded(path, 2**31) == b"12345"
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
    if sys.platform == "linux":
        assert read_bounded(Path("/proc/self/cmdline"), 2**20) == Path("/proc/self/cmdline").read_bytes() != b""


@pytest.mark.skipif(os.name != "posix", reason="pipes with names are POSIX's")
@pytest.mark.parametrize("flag", ["--labels", "--form", "--weights"])
def test_a_pipe_for_a_flag_is_refused_and_not_waited_for(
    fake_target: None, not_regular: dict[str, Path], expect_error: ErrorCheck, tmp_path: Path, flag: str
) -> None:
    message = expect_error(2, *FAKE_COMMAND, flag, not_regular["pipe"], "--output", tmp_path / "out")
    assert "regular file" in message or "not a file" in message


@pytest.mark.skipif(os.name != "posix", reason="numbers of processes are looked up otherwise")
def test_what_killed_runs_left_beside_a_page_is_removed(fake_bundle: Path, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    page = tmp_path / "page.html"
    dead = tmp_path / f".page.html.unfinished-{ended.stdout.strip()}"
    others = [tmp_path / f".page.html.unfinished-{os.getppid()}", tmp_path / ".page.html.unfinished-mine", tmp_path / "x"]
    for path in (dead, *others):
        path.touch()
    assert run(["report", str(fake_bundle), "--output", str(page)]) == 0
    assert not dead.exists()
    assert all(path.exists() for path in others), "of a run that goes on, or of somebody else"
    assert unfinished(page).name == f".page.html.unfinished-{os.getpid()}"
