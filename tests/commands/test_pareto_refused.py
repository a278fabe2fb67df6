"""What `pareto` refuses, each in one line: flags that mean nothing, and files that are no records."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edgevit_deploy.cli import run
from tests.helpers.records import bench, evaluation

ErrorCheck = Callable[..., str]


def test_wrong_usage_is_one_line(tmp_path: Path, expect_error: ErrorCheck) -> None:
    timing = bench(tmp_path / "b", {"MobileNetV2": 4.0, "odd": 1.0})
    assert "did you mean 'EdgeViT-XXS'" in expect_error(2, "pareto", timing, "--stands-for", "odd=EdgeViT-XX")
    assert "expected PATTERN=NETWORK" in expect_error(2, "pareto", timing, "--stands-for", "EdgeViT-XXS")
    assert "no label fits, of MobileNetV2, odd" in expect_error(2, "pareto", timing, "--stands-for", "no*=EdgeViT-XXS")
    assert "`energy TRACE --output DIR`" in expect_error(2, "pareto", timing, "--x", "energy")
    assert "only latencies are known" in expect_error(2, "pareto", timing, "--published", "--x", "size")
    assert "is a file; name a folder" in expect_error(2, "pareto", timing, "--output", timing / "bench.json")
    nothing = bench(tmp_path / "n", {"odd": 1.0})
    assert "nothing has both figures" in expect_error(2, "pareto", nothing)


def test_two_records_that_say_otherwise_of_one_file_are_refused(tmp_path: Path, expect_error: ErrorCheck) -> None:
    timing = bench(tmp_path / "b", {"a": 4.0})
    one, same, other = (evaluation(tmp_path / name, {"a": right}) for name, right in (("1", 70), ("2", 70), ("3", 71)))
    assert run(["pareto", str(timing), str(one), str(same)]) == 0
    assert "say otherwise of a; give one of them" in expect_error(2, "pareto", timing, one, other)


def test_nothing_is_written_into_a_bundle(fake_bundle: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    timing = bench(tmp_path / "b", {"MobileNetV2": 4.0})
    message = expect_error(2, "pareto", timing, fake_bundle, "--output", fake_bundle / "new")
    assert "lies in the bundle" in message
    assert not (fake_bundle / "new").exists()


@pytest.mark.parametrize("field", ["size_bytes", "raw_ms"])
def test_what_no_file_costs_is_left_out(field: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    timing = bench(tmp_path / "b", {"MobileNetV2": 4.0, "DeiT-Ti": 5.0})
    document = msgspec.json.decode((timing / "bench.json").read_bytes())
    document["results"][0][field] = 0 if field == "size_bytes" else [5e-324] * 40
    (timing / "bench.json").write_bytes(msgspec.json.encode(document))
    cost = "size" if field == "size_bytes" else "latency"
    assert run(["pareto", str(timing), "--x", cost, "--output", str(tmp_path / "out"), "--json"]) == 0
    made = msgspec.json.decode(capfd.readouterr().out)
    assert [point["name"] for point in made["series"][0]["points"]] == ["DeiT-Ti"]
    assert made["left_out"][0]["reason"] == f"its {cost} is no number that a file can have"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON document"),
        ("[]", "no record of bench, evaluate or energy"),
        ("{}", "no record of bench, evaluate or energy"),
        ('{"regime": 1}', "no bench.json of this version"),
        ('{"energy": {}}', "no record of this version"),
        ('{"energy": {"name": "a", "mean_mj": 0, "interval_mj": [0, 0]}}', "is no energy of an inference"),
        ('{"energy": {"name": "a", "mean_mj": 5, "interval_mj": [6, 7]}}', "is no energy of an inference"),
        ('{"energy": {"name": "a", "mean_mj": 1e999, "interval_mj": [1, 2]}}', "no JSON document"),
        ('{"rows": [], "data": 3}', "no record of this version"),
    ],
)
def test_what_no_record_is_is_refused(text: str, says: str, tmp_path: Path, expect_error: ErrorCheck) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    assert says in expect_error(2, "pareto", path)


def test_an_evaluation_that_cannot_be_is_refused(tmp_path: Path, expect_error: ErrorCheck) -> None:
    right = evaluation(tmp_path / "e", {"a": 5})
    document = msgspec.json.decode((right / "evaluation.json").read_bytes())
    document["rows"][0]["accuracy"]["top1"]["count"] = 10_001
    (right / "evaluation.json").write_bytes(msgspec.json.encode(document))
    assert "no evaluation has 10001 of 10000 pictures" in expect_error(2, "pareto", right)


def test_a_folder_without_records_and_a_bundle_without_an_evaluation(
    fake_bundle: Path, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    assert "is in this folder" in expect_error(2, "pareto", tmp_path)
    assert "cannot be read" in expect_error(2, "pareto", tmp_path / "no-such")
    assert "--record` puts one in" in expect_error(2, "pareto", fake_bundle)
