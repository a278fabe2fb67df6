"""`friendliness`: what is counted, which verdict follows, what is printed and saved; with a fake target."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from edgevit_deploy.cli import run
from edgevit_deploy.errors import ExportError, MissingError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.measure.friendliness import count_operators, more
from edgevit_deploy.registry import Availability
from edgevit_deploy.spec import Placement
from tests.helpers import fakes
from tests.helpers.friendliness import command, examined, verdicts


class Partitioned(fakes.FakeExporter):
    """A target without LayerNorms, with seven operators for a transposed convolution, and a partitioner without GELUs."""

    def export(self, module: nn.Module, plan: Any, folder: Path) -> Artifact:
        leaves = fakes.count_leaves(module)
        if leaves == {"Conv2d": 1, "LayerNorm": 1}:
            raise ExportError("no LayerNorm | here")
        artifact = super().export(module, plan, folder)
        operators = {kind: count * (7 if kind == "ConvTranspose2d" else 1) for kind, count in leaves.items()}
        return replace(artifact, operators=operators)

    def placements(self, artifact: Artifact) -> dict[str, Placement]:
        outside = {kind: count for kind, count in artifact.operators.items() if kind == "GELU"}
        return {"delegate": Placement(partitions=1 + sum(outside.values()), outside=outside, note="It looks at nothing else.")}


@pytest.fixture
def partitioned(fake_target: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fake target be `Partitioned`."""
    import export
    from edgevit_deploy.registry import Target

    line = Target(name="fake", location="tests.measure.test_friendliness:Partitioned", summary="A fake target")
    monkeypatch.setitem(sys.modules, "tests.measure.test_friendliness", sys.modules[__name__])
    monkeypatch.setitem(export.TARGETS, "fake", line)


@pytest.mark.slow
def test_unfriendly_parts_are_named(partitioned: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*command(tmp_path), "--json"]) == 0
    captured = capfd.readouterr()
    document, shown = json.loads(captured.out), captured.err
    assert document == json.loads((tmp_path / "out" / "friendliness.json").read_text())
    assert set(document["definitions"]) == {"native", "decomposed", "falls back", "rejected", "unknown"}
    (target,) = document["targets"]
    original = verdicts(document, "original")
    assert {part for part, verdict in original.items() if verdict != "native"} == {"LocalProp", "norms"}
    assert (original["LocalProp"], original["norms"]) == ("decomposed", "rejected")
    assert verdicts(document, "deploy")["LocalProp"] == "native"
    by_part = {result["part"]: result for result in target["parts"]["original"]}
    assert by_part["LocalProp"]["operators"] == {"ConvTranspose2d": 7}
    assert (by_part["LocalProp"]["added"], by_part["LocalProp"]["pytorch_added"]) == (7, 1)
    assert by_part["FFN"]["partitioners"] == {"delegate": "falls back"}
    assert by_part["FFN"]["outside"] == {"delegate": {"GELU": 1}}
    assert by_part["LocalAgg"]["partitioners"] == {"delegate": "native"}
    assert target["graphs"]["original"]["placements"]["delegate"]["outside"] == {"GELU": 12}
    page = (tmp_path / "out" / "friendliness.md").read_text()
    for text in (page, shown):
        assert "7 ops/1" in text
        assert "It looks at nothing else." in text
        assert "13 partitions, 12 outside" in text
    assert "original, norms: rejected. no LayerNorm | here" in shown
    assert r"original, norms: rejected. no LayerNorm \| here" in page
    assert "--targets fake --image-size 64 --peer none" in page
    assert str(tmp_path) not in page
    tables = [line for line in shown.splitlines() if line.startswith(("┃", "│", "|"))]
    assert tables
    assert max(map(len, tables)) <= 120, "for a terminal"


@pytest.mark.slow
def test_a_target_that_refuses_everything_is_unknown_by_part(
    partitioned: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Artifact:
        raise ExportError("out of order")

    monkeypatch.setattr(Partitioned, "export", refuse)
    document = examined(tmp_path)
    assert set(verdicts(document, "deploy").values()) == {"unknown"}
    assert document["targets"][0]["graphs"]["deploy"]["rejected"] == "out of order"


def test_a_missing_target_is_skipped_with_what_installs_it(
    partitioned: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_error: Callable[..., str]
) -> None:
    missing = Availability(ok=False, detail="fakelib not installed", fix="pip install fakelib")
    monkeypatch.setattr(Partitioned, "probe", classmethod(lambda cls: missing))
    message = expect_error(3, *command(tmp_path))
    assert "no target could be examined: fake:" in message
    assert "pip install fakelib" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_peer_without_timm_is_skipped_and_the_rest_is_made(
    partitioned: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> Any:
        raise MissingError("no timm; pip install timm")

    monkeypatch.setattr("edgevit_deploy.measure.friendliness.make_peer", missing)
    document = examined(tmp_path, peer="Swin-T")
    assert document["skipped"] == {"Swin-T": "no timm; pip install timm"}
    assert set(document["targets"][0]["graphs"]) == {"deploy", "original"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": "fakee"}, "--targets fakee: no such target; did you mean 'fake'?"),
        ({"peer": "Swin-S"}, "--peer Swin-S: no such network; did you mean 'Swin-T'?"),
        ({"image_size": "dynamic"}, "friendliness looks at one shape"),
        ({"image_size": "65"}, "not a positive multiple of 32"),
        ({"output": __file__}, "is a file; name a folder"),
    ],
)
def test_what_cannot_be_asked(
    partitioned: None, tmp_path: Path, expect_error: Callable[..., str], changes: dict[str, str], message: str
) -> None:
    assert message in expect_error(2, *command(tmp_path, **changes))


def test_operators_are_counted_by_torch_export() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GELU(), nn.Flatten(), nn.Linear(4 * 64, 2)).eval()
    assert count_operators(module, (8, 8)) == 4
    assert more({"a": 3, "b": 1}, {"a": 1, "b": 2, "c": 1}) == {"a": 2}
