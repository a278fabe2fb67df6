"""With which versions pictures were run: part of a shard's key, kept beside its outputs, and recorded as they were there."""

import importlib.metadata
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import edgevit_deploy
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.measure import accuracy
from edgevit_deploy.measure.accuracy import Shard, ShardLogits, identity, run_shard
from edgevit_deploy.measure.accuracy.identity import versions
from edgevit_deploy.measure.accuracy.record import read_record
from tests.helpers import trained
from tests.helpers.evaluation import pictures, trained_bundle
from tests.helpers.fakes import FakeSession


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch, fake_target: None) -> None:
    """Ten pictures a shard, of twenty, so two a subject."""
    monkeypatch.setattr(accuracy, "PICTURES", 10)


@pytest.fixture
def needs_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake runtime says that PyTorch is what runs its files."""
    monkeypatch.setattr(FakeSession, "packages", ("torch",))


class Elsewhere:
    """Runs shards as usual, but says of each that it ran with a version of its own; keeps them in mind."""

    def __init__(self, *runtimes: str) -> None:
        self.run: list[Shard] = []
        self.runtimes = runtimes

    def __call__(self, shards: Sequence[Shard]) -> Iterator[ShardLogits]:
        for number, shard in enumerate(shards):
            self.run.append(shard)
            found = run_shard(shard)
            if self.runtimes:
                runtime = self.runtimes[number % len(self.runtimes)]
                found = replace(found, runtime=runtime, tools=(("engine", f"1.{number}"), ("pillow", "11")))
            yield found


def evaluate(run_shards: accuracy.RunShards, output: Path | None = None, bundle: Path | None = None) -> accuracy.Evaluation:
    chosen = bundle or trained_bundle()
    return edgevit_deploy.evaluate(
        chosen, data=pictures(2), weights=trained.WEIGHTS, output=output, run_shards=run_shards, record=bundle is not None
    )


@pytest.mark.usefixtures("needs_torch")
@pytest.mark.parametrize("changed", ["pillow", "numpy", "torch", "edgevit-deploy"])
def test_another_version_of_anything_on_the_way_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    first, again = Elsewhere(), Elsewhere()
    evaluate(first, tmp_path)
    evaluate(again, tmp_path)
    assert (len(first.run), len(again.run)) == (4, 0), "the control: the same versions"
    installed = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1" if name == changed else installed(name))
    monkeypatch.setattr(identity, "VERSION", "99" if changed == "edgevit-deploy" else identity.VERSION)
    evaluate(again, tmp_path)
    assert {shard.key for shard in again.run}.isdisjoint({shard.key for shard in first.run})
    assert len(again.run) == 4


def test_a_version_is_found_whatever_its_distribution_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "engine_gpu-1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: engine-gpu\nVersion: 1.5\n")
    (about / "top_level.txt").write_text("engine_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    identity._distributions.cache_clear()
    try:
        assert versions(["engine_module", "no_such_module"]) == {"engine-gpu": "1.5"}
    finally:
        identity._distributions.cache_clear()
    assert versions(["PIL"]) == {"pillow": importlib.metadata.version("pillow")}


@pytest.mark.usefixtures("needs_torch")
def test_what_ran_here_is_what_is_told(tmp_path: Path) -> None:
    found = evaluate(Elsewhere(), tmp_path)
    for row in found.rows:
        tools = dict(row.tools)
        assert sorted(tools) == ["edgevit-deploy", "numpy", "pillow", "torch"]
        assert tools["torch"] == importlib.metadata.version("torch")
        assert row.notes == ()


def test_what_ran_elsewhere_is_kept_recorded_and_said(tmp_path: Path) -> None:
    """Two workers with two versions of an engine that this machine does not have."""
    bundle = Path(shutil.copytree(trained_bundle(), tmp_path / "bundle" / "fake-fp32"))
    again = Elsewhere()
    for run_shards in (Elsewhere("engine on A", "engine on B"), again):
        found = evaluate(run_shards, tmp_path / "kept", bundle)
        network, row = found.rows
        assert row.runtime == "engine on A and engine on B"
        assert row.tools == (("engine", "1.2 and 1.3"), ("pillow", "11"))
        assert network.tools == (("engine", "1.0 and 1.1"), ("pillow", "11"))
        assert row.notes == ("not all of its pictures were run alike: engine on A, engine on B, engine 1.2 and 1.3",)
        recorded = read_record(bundle, read_manifest(bundle))
        assert recorded is not None
        assert (recorded.tools, recorded.network_tools) == (dict(row.tools), dict(network.tools))
        assert recorded.notes == row.notes
    assert again.run == []
