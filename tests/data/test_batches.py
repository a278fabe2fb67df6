"""A stream of pictures: the same bytes in the same order whoever decodes them, what is broken named, and no process left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.data import photographs
from edgevit_deploy.data.batches import PREFETCHED, PictureBatch, PictureStream
from edgevit_deploy.data.preprocess import read_pixels
from edgevit_deploy.errors import RunError
from edgevit_deploy.process.child import environment
from edgevit_deploy.spec import imagenet_preprocess
from tests.helpers.pictures import gradient, save

PREPROCESS = imagenet_preprocess((32, 32))
ROOT = Path(__file__).parent.parent.parent
WAIT_S = 60


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return [save(tmp_path / f"{index:02}.png", np.roll(gradient(20 + index, 40), index, axis=1)) for index in range(23)]


def stream(paths: list[Path], **changes: Any) -> PictureStream:
    given = {"path": paths.__getitem__, "positions": range(len(paths)), "preprocess": PREPROCESS, "batch": 4, "workers": 2}
    return PictureStream(**{**given, **changes})


def stop(batches: Iterator[PictureBatch]) -> None:
    batches.close()  # type: ignore[attr-defined]


def test_workers_give_the_same_bytes_in_the_same_order(pictures: list[Path]) -> None:
    positions = np.random.default_rng(0).permutation(len(pictures))
    here, there = (list(stream(pictures, positions=positions, workers=workers)) for workers in (0, 2))
    assert len(here) == len(there) == len(stream(pictures)) == 6
    for one, other in zip(here, there, strict=True):
        assert one.positions.tolist() == other.positions.tolist()
        assert one.pixels.tobytes() == other.pixels.tobytes()
    assert np.concatenate([batch.positions for batch in here]).tolist() == positions.tolist()
    expected = np.stack([read_pixels(pictures[position], PREPROCESS) for position in positions])
    assert np.array_equal(np.concatenate([batch.pixels for batch in there]), expected)
    assert len({picture.tobytes() for picture in expected}) == len(pictures), "the control: all of them differ"


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_pictures_have_no_row_and_are_named(pictures: list[Path], workers: int) -> None:
    pictures[1].write_bytes(pictures[1].read_bytes()[:-40])
    pictures[6].write_text("no picture")
    pictures[7].unlink()
    os.mkfifo(pictures[7])
    pictures[8].unlink()
    for index in range(12, 16):
        pictures[index].write_bytes(b"")
    batches = list(stream(pictures, workers=workers))
    assert [batch.positions.tolist() for batch in batches[:4]] == [[0, 2, 3], [4, 5], [9, 10, 11], []]
    assert all(len(batch.pixels) == len(batch.positions) for batch in batches)
    broken = {Path(item.file): item.why for batch in batches for item in batch.broken}
    assert set(broken) == {pictures[index] for index in (1, 6, 7, 8, 12, 13, 14, 15)}
    assert broken[pictures[1]].startswith("damaged, cannot be read as a picture (")
    assert broken[pictures[6]] == "cannot be read as a picture (no picture)"
    assert broken[pictures[7]] == "cannot be read as a picture (not a regular file)"
    assert broken[pictures[8]] == "cannot be read as a picture (No such file or directory)"


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_asked_gives_nothing(pictures: list[Path], workers: int) -> None:
    assert list(stream(pictures, positions=[], workers=workers)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_names_are_asked_for_as_the_batches_come(pictures: list[Path], workers: int) -> None:
    """So memory does not grow with the folder: neither pixels nor names are ahead by more than the workers' few batches."""
    asked: list[int] = []

    def path(position: int) -> Path:
        asked.append(position)
        return pictures[position % len(pictures)]

    batches = iter(stream(pictures, path=path, positions=range(1000), workers=workers))
    for number, batch in enumerate(batches, start=1):
        assert batch.positions.tolist() == list(range(4 * number - 4, 4 * number))
        assert len(asked) <= 4 * (number + workers * PREFETCHED)
        if number == 8:
            break
    stop(batches)


@pytest.mark.parametrize("worth_bytes", [0, 2**30], ids=["workers", "here"])
def test_a_folder_is_read_by_workers_where_it_is_worth_their_start(
    pictures: list[Path], worth_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size in bytes decides how it is read, and nothing of what is read: another one is kept in a broken one's place."""
    monkeypatch.setattr(photographs, "WORTH_WORKERS_BYTES", worth_bytes)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    pictures[11].write_bytes(pictures[11].read_bytes()[:-40])
    folder = photographs.find_pictures(pictures[0].parent)
    assert photographs.stream(folder, PREPROCESS, 4).workers == (0 if worth_bytes else 2)
    assert folder.spread(2) == (0, 11)
    kept, found = photographs.read_some(folder, 2, PREPROCESS, lambda _: None)
    assert list(kept) == ["00.png", "01.png"]
    for name, pixels in kept.items():
        np.testing.assert_array_equal(pixels, read_pixels(pictures[0].parent / name, PREPROCESS))
    assert found.names == tuple(path.name for path in pictures if path != pictures[11])
    assert [item.file for item in found.passed_over] == ["11.png"]


def children() -> set[int]:
    """Return the processes whose parents are this one or its server of workers."""
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    found[int(entry.name)] = int(fields[1])
    mine = {os.getpid()}
    while more := {process for process, parent in found.items() if parent in mine} - mine:
        mine |= more
    return mine - {os.getpid()}


def wait_until_gone(processes: set[int]) -> set[int]:
    """Wait for processes to end, and return those that do not."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and (left := {process for process in processes if Path(f"/proc/{process}").exists()}):
        time.sleep(0.05)
    return left


linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are found under /proc")


@linux
def test_who_stops_early_leaves_no_worker(pictures: list[Path]) -> None:
    list(stream(pictures))  # the server of workers stays
    before = children()
    with closing(iter(stream(pictures, positions=list(range(23)) * 50))) as batches:
        next(batches)
        workers = children() - before
        assert len(workers) == 2
    assert wait_until_gone(workers) == set()


@linux
def test_a_worker_that_is_killed_is_one_line_and_no_hang(pictures: list[Path]) -> None:
    list(stream(pictures))
    before = children()
    batches = iter(stream(pictures, positions=list(range(23)) * 200))
    next(batches)
    workers = children() - before
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(RunError, match=r"a process that decodes pictures was ended .* fewer --workers"):
        list(batches)
    assert wait_until_gone(workers) == set()


SCRIPT = """
import json, os, sys, threading, time
import numpy as np
from pathlib import Path
from edgevit_deploy.data.batches import PictureStream
from edgevit_deploy.spec import imagenet_preprocess
with open("ran", "a") as ran:
    ran.write("once ")
path = Path(sys.argv[1])
stream = PictureStream(
    path=lambda _: path, positions=range(10**6), preprocess=imagenet_preprocess((32, 32)), batch=4, workers=2
)
for number, batch in enumerate(stream):
    if number == 3:
        print("running", flush=True)
    time.sleep(0.05)
"""


@linux
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_script_without_a_guard_runs_once_and_leaves_no_process(
    pictures: list[Path], tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C goes to all processes of a terminal, the workers too; SIGKILL to one that cannot tidy up."""
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", str(pictures[0])]
    variables = {**environment(), "PYTHONPATH": str(ROOT)}
    before = children()
    with subprocess.Popen(
        command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "running\n"
        started = children() - before
        assert len(started) >= 4, "the script, the server of workers, and two of them"
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.kill()
        left = wait_until_gone(started - {process.pid})
        for worker in left:  # whoever is left holds the pipe that is read below
            os.kill(worker, signal.SIGKILL)
        said = process.stderr.read()
    assert left == set()
    assert (tmp_path / "ran").read_text() == "once "
    assert said.count("Traceback") == (number == signal.SIGINT), said


def test_a_daemonic_process_decodes_itself(pictures: list[Path]) -> None:
    """As the workers of a fleet are, which may have no children."""
    code = (
        "import json, multiprocessing, sys; from pathlib import Path; from edgevit_deploy.data.batches import PictureStream\n"
        "from edgevit_deploy.spec import imagenet_preprocess\n"
        "multiprocessing.current_process()._config['daemon'] = True\n"
        "stream = PictureStream(path=lambda _: Path(sys.argv[1]), positions=range(9), batch=4, workers=2, "
        "preprocess=imagenet_preprocess((32, 32)))\n"
        "print(json.dumps([batch.positions.tolist() for batch in stream]))"
    )
    command = [sys.executable, "-c", code, str(pictures[0])]
    result = subprocess.run(command, env={**environment(), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
