"""What an isolated exporter reads of a file, it reads in the worker: a file that crashes the reader ends in one line."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.deploy.stored import Stored, StoredWeights
from edgevit_deploy.errors import RunError, UsageError
from edgevit_deploy.exporter import Artifact, Exporter
from edgevit_deploy.exporter.answers import pack_stored, unpack_description, unpack_stored
from edgevit_deploy.exporter.child import WORKERS, isolated
from export import TARGETS
from tests.helpers.child_fakes import DescribingExporter

LOCATION = "tests.helpers.child_fakes:DescribingExporter"
READING: Exporter[Any] = isolated(DescribingExporter, LOCATION)()
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")

ROUNDING = Stored(
    activations=((0.1, -3), (1e-45, 255)),
    weights=(
        StoredWeights(scales=np.array([0.5, 2.0], np.float32), values=np.array([[1, -2, 3], [4, 5, -128]], np.int8)),
        StoredWeights(scales=np.arange(256, dtype=np.float32), values=np.array([[7]], np.int8)),
    ),
)


@pytest.fixture(autouse=True, scope="module")
def no_worker_stays() -> Iterator[None]:
    yield
    WORKERS.close()


def artifact(path: Path) -> Artifact:
    return Artifact(target="fake", path=path, inputs=(), outputs=(), tools={}, built_from=None)


def same(one: Stored, other: Stored) -> bool:
    pairs = list(zip(one.weights, other.weights, strict=True))
    arrays = [(a.scales, b.scales) for a, b in pairs] + [(a.values, b.values) for a, b in pairs]
    return one.activations == other.activations and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays)


@pytest.mark.parametrize("rounding", [ROUNDING, replace(ROUNDING, activations=()), Stored(activations=(), weights=())])
def test_a_rounding_comes_back_as_it_was(rounding: Stored) -> None:
    assert same(unpack_stored(pack_stored(rounding)), rounding)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sizes", lambda array: array + 1),
        ("sizes", lambda array: -array),
        ("sizes", lambda array: array[:1]),
        ("sizes", lambda array: array * 2**40),
        ("values", lambda array: array[1:]),
        ("scales", lambda array: array[1:]),
        ("activations", lambda array: array + 0.5),
        ("activations", lambda array: array * np.nan),
        ("activations", lambda array: array + np.inf),
    ],
)
def test_a_rounding_that_does_not_fit_is_refused(name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    arrays = pack_stored(ROUNDING)
    with pytest.raises(RunError, match="convert again"):
        unpack_stored({**arrays, name: change(arrays[name])})


@pytest.mark.parametrize("name", ["sizes", "values", "scales"])
def test_a_rounding_that_is_not_whole_is_refused(name: str) -> None:
    with pytest.raises(RunError, match="of other sizes than it says"):
        unpack_stored({other: array for other, array in pack_stored(ROUNDING).items() if other != name})


@pytest.mark.parametrize("said", [[], {"labels": "zebra"}, {"normalisation": {"mean": [None, 0, 0], "std": [1, 1, 1]}}])
def test_a_description_that_is_none_is_refused(said: object) -> None:
    with pytest.raises(RunError, match="cannot be taken"):
        unpack_description(said)


def test_it_is_read_in_another_process(tmp_path: Path) -> None:
    said = READING.description(artifact(tmp_path / "model.fake"))
    assert said is not None
    assert said.labels[0] != str(os.getpid())
    assert READING.description(artifact(tmp_path / "model.fake")) == said, "the same process"


@posix_only
@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("abort", RunError, r"abort.fake could not be read: its process was killed by SIGABRT"),
        ("segmentation", RunError, "killed by SIGSEGV"),
        ("defect", RunError, "defect.fake could not be read: ZeroDivisionError"),
        ("memory", RunError, "could not be read: MemoryError"),
        ("run", RunError, "it cannot be read; convert again"),
        ("usage", UsageError, "use another flag"),
        ("disk", OSError, "No space left on device"),
    ],
)
def test_however_reading_ends_it_is_one_line_and_the_next_one_works(
    tmp_path: Path, fault: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        READING.stored(artifact(tmp_path / f"{fault}.fake"))
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert READING.description(artifact(tmp_path / "model.fake")) is not None


def test_numbers_that_are_not_finite_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be taken"):
        READING.description(artifact(tmp_path / "nan.fake"))


@pytest.mark.parametrize("method", ["export", "stored", "description"])
@pytest.mark.parametrize("target", TARGETS)
def test_no_isolated_target_reads_in_this_process(target: str, method: str) -> None:
    line = TARGETS[target]
    own = line.load()
    if line.isolated and getattr(own, method) is not getattr(Exporter, method):
        assert getattr(isolated(own, line.location), method).__module__ == "edgevit_deploy.exporter.child"
