"""`bench --on ADDRESS`: the bundles travel; the figures have the names of here, and say where they are from."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.fleet.parcel import pack
from tests.helpers.fleet import contents

RUNS = ("--runs", "20")


def test_the_figures_come_from_a_worker_that_runs_the_bundle(
    fake_bundle: Path, address: str, cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(fake_bundle)
    where = ("--on", address, "--needs", "red")
    assert run(["bench", str(fake_bundle), *RUNS, *where, "--output", str(tmp_path / "pages"), "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert document["worker"].startswith("red on "), "blue cannot run it"
    assert [result["label"] for result in document["results"]] == [str(fake_bundle)]
    assert len(document["results"][0]["raw_ms"]) == 20
    assert "Timed by worker red on " in captured.err
    assert " ".join(where) in (tmp_path / "pages" / "bench.md").read_text()
    assert contents(fake_bundle) == before


def test_what_is_wrong_with_a_bundle_there_names_it_as_it_is_called_here(
    fake_bundle: Path, address: str, cluster: Any, expect_error: Callable[..., str]
) -> None:
    golden = fake_bundle / "golden" / "output.f32"
    golden.write_bytes(golden.read_bytes()[::-1])
    manifest = json.loads((fake_bundle / "manifest.json").read_text())
    for record in manifest["files"]:
        if record["path"] == "golden/output.f32":
            record["sha256"] = hashlib.sha256(golden.read_bytes()).hexdigest()
    (fake_bundle / "manifest.json").write_text(json.dumps(manifest))
    pack(fake_bundle)
    line = expect_error(1, "bench", fake_bundle, *RUNS, "--on", address)
    assert str(fake_bundle) in line
    assert "/0/bundle" not in line


def test_what_no_worker_can_do_is_refused_by_name(
    fake_bundle: Path, address: str, cluster: Any, expect_error: Callable[..., str]
) -> None:
    line = expect_error(3, "bench", fake_bundle, *RUNS, "--on", address, "--needs", "arm64")
    assert "bench: no worker has arm64" in line


def test_threads_are_counted_where_the_work_is_done(
    fake_bundle: Path, address: str, cluster: Any, expect_error: Callable[..., str]
) -> None:
    """The worker refuses what it has not; a machine with fewer cores than the worker would have refused at once."""
    line = expect_error(2, "bench", fake_bundle, *RUNS, "--on", address, "--threads", "4096")
    assert "--threads 4096: this process may use" in line


@pytest.mark.nightly
def test_plain_exports_are_made_and_timed_there(
    fake_bundle: Path, address: str, cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", str(fake_bundle), *RUNS, "--against", "original", "--on", address, "--json"]) == 0
    (contest,) = json.loads(capfd.readouterr().out)["against"]
    assert contest["against"] == "original"
