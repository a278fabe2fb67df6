"""Quantised files on other machines: ranges are observed here and sent, pictures are not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgevit_deploy.bundle.manifest import ARITHMETIC_ONLY, read_manifest
from edgevit_deploy.calibration.record import Calibration, calibration_bytes, read_calibration
from edgevit_deploy.cli import run
from edgevit_deploy.fleet import convert, dispatch
from edgevit_deploy.fleet.jobs import ConvertJob, Source
from edgevit_deploy.fleet.judge import JudgeJob, ToJudge
from edgevit_deploy.fleet.parcel import pack
from edgevit_deploy.model.loading import ModelOrigin
from tests.helpers.pictures import gradient, save

ALL = ("all", "--model", "edgevit_xxs", "--image-size", "32", "--precision", "int8")
"""Of 1000 classes, for which few pictures are a yardstick."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(8):
        save(folder / f"{number}.png", (gradient(40 + number, 48) // (1, 2, 4)).astype(np.uint8))
    return folder


def test_ranges_of_pictures_here_round_a_file_there(
    only_fake: None, address: str, cluster: Any, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, jobs = dispatch.Order, []

    def noted(*, job: ConvertJob, **rest: Any) -> Any:
        jobs.append(job)
        return honest(job=job, **rest)

    monkeypatch.setattr(convert, "Order", noted)
    tokens = [*ALL, "--calibration", str(pictures), "--on", address, "--output", str(tmp_path / "out")]
    assert run(tokens) == 0
    bundle = tmp_path / "out" / "fake-int8"
    assert read_manifest(bundle).verdict == ARITHMETIC_ONLY
    calibration = read_calibration(bundle / "calibration.json")
    assert (calibration.source, calibration.count, len(calibration.pictures)) == ("pictures", 8, 8)
    assert [job.ranges for job in jobs] == [(bundle / "calibration.json").read_bytes()]
    assert run(["verify", str(bundle)]) == 0
    judged = JudgeJob(origin=ModelOrigin(model="edgevit_xxs", image_size=(32, 32), seed=0), duration_s=1.0).run(
        ToJudge(parcel=pack(bundle), source=Source())
    )
    assert judged.attempt.status == "passed", "a machine that only runs it needs no pictures either"


@pytest.mark.slow
def test_a_file_that_was_rounded_by_other_ranges_is_refused(
    only_fake: None,
    address: str,
    cluster: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    honest = ConvertJob.__init__

    def other(self: ConvertJob, *, ranges: bytes, **fields: Any) -> None:
        observed = msgspec.json.decode(ranges, type=Calibration)
        honest(self, ranges=calibration_bytes(replace(observed, count=observed.count + 1).sealed()), **fields)

    monkeypatch.setattr(ConvertJob, "__init__", other)
    assert run([*ALL, "--calibration", "synthetic", "--on", address, "--output", str(tmp_path / "out")]) == 1
    assert "what worker red sent is not the bundle that was asked for (ranges)" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--calibration", "synthetic", "--judge", "."), "--judge is for files that run here, and --on runs them elsewhere"),
        (("--ranges", "calibration.json"), "--ranges are of one target's graph"),
        ((), "add --calibration DIR"),
    ],
)
def test_what_cannot_be_sent_is_one_line(
    only_fake: None,
    address: str,
    cluster: Any,
    tmp_path: Path,
    expect_error: Callable[..., str],
    flags: tuple[str, ...],
    says: str,
) -> None:
    assert says in expect_error(2, *ALL, *flags, "--on", address, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
