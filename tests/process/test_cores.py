"""How many cores a process may use: those that it is bound to, and no more than its container grants."""

import os
from pathlib import Path

import pytest

from edgevit_deploy.process.cores import usable_cores


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def machine(root: Path, own: str, limits: dict[str, str]) -> Path:
    """Write what Linux says of a process's cgroup and of those around it."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(own)
    for folder, limit in limits.items():
        (root / "sys/fs/cgroup" / folder).mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup" / folder / "cpu.max").write_text(limit)
    return root


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        ("0::/\n", {".": "200000 100000\n"}, 2),
        ("0::/\n", {".": "50000 100000\n"}, 1),
        ("0::/\n", {".": "250000 100000\n"}, 2),
        ("0::/\n", {".": "max 100000\n"}, 8),
        ("0::/\n", {".": "6400000 100000\n"}, 8),
        ("0::/a/b\n", {"a/b": "max 100000\n", "a": "300000 100000\n"}, 3),
        ("0::/not/seen/from/here\n", {".": "400000 100000\n"}, 4),
        ("4:cpu:/a\n0::/b\n", {"a": "100000 100000\n", "b": "500000 100000\n"}, 5),
        ("0::/\n", {".": "something else\n"}, 8),
        ("0::/\n", {".": "100000 0\n"}, 8),
        ("", {".": "100000 100000\n"}, 8),
    ],
    ids=[
        "two",
        "half",
        "two and a half",
        "no limit",
        "more than there are",
        "around it",
        "a namespace",
        "of two kinds",
        "no number",
        "no period",
        "version 1 alone",
    ],
)
@pytest.mark.usefixtures("eight_cores")
def test_what_a_container_grants_bounds_the_cores(own: str, limits: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert usable_cores(machine(tmp_path, own, limits)) == expected


@pytest.mark.usefixtures("eight_cores")
def test_elsewhere_the_cores_are_those_that_it_is_bound_to(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 8
