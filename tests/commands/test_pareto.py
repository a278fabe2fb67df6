"""`pareto` on records as `bench`, `evaluate` and `energy` write them: who is dominated, what is mixed, what is a tie."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgevit_deploy.cli import run
from tests.helpers.records import WORDNET, bench, energy, evaluation

ROOT = Path(__file__).parent.parent.parent


def pareto(capfd: pytest.CaptureFixture[str], *tokens: object) -> dict[str, Any]:
    capfd.readouterr()
    assert run(["pareto", *map(str, tokens), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert isinstance(document, dict)
    return document


def points_of(series: dict[str, Any]) -> dict[str, Any]:
    return {point["name"]: point for point in series["points"]}


def test_a_planted_file_is_dominated_by_measured_figures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    labels = {"build/fast": 4.0, "build/planted": 9.0, "build/good": 6.0}
    timing = bench(tmp_path / "b", labels, {label: label[::-1] for label in labels})
    right = evaluation(tmp_path / "e", {"build/fast": 7000, "build/planted": 7200, "build/good": 7600})
    document = pareto(capfd, timing, right)
    (series,) = document["series"]
    points = points_of(series)
    assert series["front"] == ["build/fast", "build/good"]
    assert (points["build/planted"]["standing"], points["build/planted"]["by"]) == ("dominated", ["build/good"])
    assert {point["figures"] for point in points.values()} == {"measured"}
    assert points["build/good"]["top1"]["value"] == pytest.approx(76.0)
    assert points["build/good"]["top1"]["interval"] == pytest.approx([75.15, 76.83], abs=0.01)  # Wilson, by hand
    assert points["build/good"]["cost"]["value"] == pytest.approx(6.0, rel=2e-3)


def test_accuracies_that_their_pictures_do_not_tell_apart_decide_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    timing = bench(tmp_path / "b", {"cheap": 4.0, "dear": 6.0}, {"cheap": "paehc", "dear": "raed"})
    few = evaluation(tmp_path / "few", {"cheap": 76, "dear": 77}, of=100)
    points = points_of(pareto(capfd, timing, few)["series"][0])
    assert (points["dear"]["standing"], points["dear"]["by"]) == ("undecided", ["cheap"])
    many = evaluation(tmp_path / "many", {"cheap": 760_000, "dear": 770_000}, of=1_000_000)
    assert points_of(pareto(capfd, timing, many)["series"][0])["dear"]["standing"] == "front"


def test_two_samples_of_one_folder_are_no_one_series(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    timing = bench(tmp_path / "b", {"one": 4.0, "two": 6.0}, {"one": "eno", "two": "owt"})
    samples = [evaluation(tmp_path / f"s{seed}", {label: 400}, of=500, seed=seed) for seed, label in enumerate(("one", "two"))]
    series = pareto(capfd, timing, *samples)["series"]
    assert [list(points_of(each)) for each in series] == [["one"], ["two"]]
    assert [each["pictures"] for each in series] == [f"500 pictures of val (01234567, seed {seed})" for seed in (0, 1)]
    same = evaluation(tmp_path / "same", {"two": 400}, of=500, seed=0)
    (together,) = pareto(capfd, timing, samples[0], same)["series"]
    assert set(points_of(together)) == {"one", "two"}


def test_published_accuracies_are_marked_and_keep_apart_from_measured_ones(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    timing = bench(
        tmp_path / "b", {"build/mine": 8.0, "MobileNetV2": 4.0, "EfficientNet-B0": 6.0, "odd": 1.0}, {"build/mine": "h"}
    )
    document = pareto(capfd, timing, "--stands-for", "build/m*=EdgeViT-XXS")
    (series,) = document["series"]
    points = points_of(series)
    assert series["pictures"] == "ImageNet-1k"
    assert {point["figures"] for point in points.values()} == {"mixed"}
    assert points["EdgeViT-XXS"]["by"] == ["EfficientNet-B0"]
    assert points["EdgeViT-XXS"]["label"] == "build/mine"
    assert points["EdgeViT-XXS"]["top1"]["origin"] == "published"
    assert "StarNet" in points["EdgeViT-XXS"]["top1"]["source"]
    (left,) = document["left_out"]
    assert left["name"].startswith("odd of ")
    assert "--stands-for" in left["reason"]

    own = evaluation(tmp_path / "e", {"h": 5000})  # other pictures than ImageNet's
    both = pareto(capfd, timing, own, "--stands-for", "build/m*=EdgeViT-XXS")["series"]
    assert [(series["pictures"][:8], len(series["points"])) for series in both] == [("10000 pi", 1), ("ImageNet", 2)]
    assert points_of(both[0])["build/mine"]["figures"] == "measured"

    imagenet = evaluation(tmp_path / "i", {"h": 7900}, classes=WORDNET)
    (one,) = pareto(capfd, timing, imagenet)["series"]
    assert {name: point["figures"] for name, point in points_of(one).items()} == {
        "MobileNetV2": "mixed",
        "EfficientNet-B0": "mixed",
        "build/mine": "measured",
    }


def test_energies_are_compared_by_device(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    records = [
        energy(tmp_path / "1.json", "MobileNetV2", 20.0, device="a phone"),
        energy(tmp_path / "2.json", "EdgeViT-XXS", 30.0, device="a phone"),
        energy(tmp_path / "3.json", "mine", 25.0, device="a phone", bundle="enim"),
        energy(tmp_path / "4.json", "EdgeViT-S", 1.0, device="another"),
    ]
    mine = evaluation(tmp_path / "e", {"mine": 7700}, classes=WORDNET)
    first, second = pareto(capfd, *records, mine, "--x", "energy")["series"]
    points = points_of(first)
    assert (points["EdgeViT-XXS"]["standing"], points["EdgeViT-XXS"]["by"]) == ("dominated", ["mine"])
    assert points["mine"]["figures"] == "measured"
    assert len(second["points"]) == 1


def test_energies_of_a_machines_counters_are_compared_by_counter(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = bench(tmp_path / "b", {"MobileNetV2": 4.0, "mine": 5.0}, {"mine": "enim"}) / "bench.json"
    document = json.loads(place.read_text())
    entries = [("MobileNetV2", "package 0", 50.0), ("mine", "package 0", 70.0), ("mine", "GPU 0", -0.1)]
    document["energy"] = [
        {"name": name, "meter": meter, "mean_mj": mean, "interval_mj": [mean - 1, mean + 1]} for name, meter, mean in entries
    ]
    place.write_text(json.dumps(document))
    right = evaluation(tmp_path / "e", {"mine": 7000}, classes=WORDNET)
    made = pareto(capfd, place, right, "--x", "energy")
    (series,) = made["series"]
    assert series["name"].startswith("package 0, a CPU")
    assert (points_of(series)["mine"]["by"], points_of(series)["mine"]["figures"]) == (["MobileNetV2"], "measured")
    assert [left["reason"] for left in made["left_out"]] == ["its energy is not told apart from none (-0.1 mJ, -1.1 to 0.9)"]


def test_what_may_be_wrong_with_an_energy_widens_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sure = energy(tmp_path / "1.json", "EdgeViT-XXS", 20.0)
    unsure = energy(tmp_path / "2.json", "EdgeViT-XS", 20.6, error_share=0.05)
    points = points_of(pareto(capfd, sure, unsure, "--x", "energy")["series"][0])
    assert points["EdgeViT-XS"]["cost"]["interval"] == pytest.approx([20.6 - 1.0504, 20.6 + 1.0504], abs=1e-3)
    hardly = energy(tmp_path / "3.json", "EdgeViT-S", 20.0, error_share=0.999)
    document = pareto(capfd, sure, hardly, "--x", "energy", "--output", tmp_path / "out")
    assert points_of(document["series"][0])["EdgeViT-S"]["cost"]["interval"][0] < 0.1, "it reaches nothing, and is drawn"


def test_an_evaluation_alone_gives_accuracy_against_macs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    right = evaluation(tmp_path / "e", {"build/a": 7000, "build/b": 7400})
    flags = ("--stands-for", "build/a=EdgeViT-XXS", "--stands-for", "build/b=EdgeViT-XS")
    points = points_of(pareto(capfd, right, "--x", "macs", *flags)["series"][0])
    assert {name: (round(point["cost"]["value"]), point["figures"]) for name, point in points.items()} == {
        "build/a": (551, "measured"),
        "build/b": (1128, "measured"),
    }


def test_macs_are_of_networks_and_counted_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    timing = bench(tmp_path / "b", {"a/x": 8.0, "b/x": 9.0, "MobileNetV2": 4.0, "MobileNetV2, channels-last": 3.0, "odd": 1.0})
    document = pareto(capfd, timing, "--x", "macs", "--stands-for", "*/x=EdgeViT-XXS")
    points = points_of(document["series"][0])
    assert {name: round(point["cost"]["value"]) for name, point in points.items() if "Edge" in name} == {"EdgeViT-XXS": 551}
    assert set(points) == {"EdgeViT-XXS", "MobileNetV2"}, "on two runtimes and in two layouts a network is one"
    assert points["EdgeViT-XXS"]["figures"] == "mixed"
    assert [left["name"] for left in document["left_out"]] == ["odd of multiply-accumulates of the networks"]


def test_sizes_are_exact(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    timing = bench(tmp_path / "b", {"MobileNetV2": 4.0, "DeiT-Ti": 4.000001})
    points = points_of(pareto(capfd, timing, "--x", "size")["series"][0])
    assert points["DeiT-Ti"]["cost"] == points["DeiT-Ti"]["cost"] | {"value": 4.000001, "interval": None}
    assert points["DeiT-Ti"]["standing"] == "undecided", "it is larger, and its 72.2 % are not told apart from 72.0 %"
    assert points["MobileNetV2"]["ties"] == []


def test_what_others_have_published_is_a_series_a_device(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    timing = bench(tmp_path / "b", {"MobileNetV2": 4.0})
    own, *others = pareto(capfd, timing, "--published")["series"]
    assert {point["figures"] for point in own["points"]} == {"mixed"}
    assert {point["figures"] for series in others for point in series["points"]} == {"published"}
    assert len({series["name"] for series in others}) == len(others) >= 4


def test_the_files_are_a_page_a_document_and_two_pictures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    timing = bench(tmp_path / "b", {"<b>": 8.0, "MobileNetV2": 4.0}, {"<b>": ">b<"})
    right = evaluation(tmp_path / "e", {"<b>": 7700}, classes=WORDNET)
    document = pareto(capfd, timing, right, "--output", tmp_path / "out")
    written = tmp_path / "out"
    assert json.loads((written / "pareto.json").read_text()) == document
    page = (written / "pareto.md").read_text()
    assert f"python convert.py pareto {timing} {right} --x latency --y top1\n" in page
    assert "| MobileNetV2 |" in page
    assert "mixed" in page
    assert "&lt;b>" in page
    assert "arxiv.org" in page, "the source of a published figure is on the page"
    svg = (written / "pareto.svg").read_text()
    assert svg.count("<polygon") == 1 + 1, "a diamond for the mixed point, and one in the legend"
    assert "&lt;b&gt;" in svg
    with Image.open(written / "pareto.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("L").getcolors(256) or ()) > 20


@pytest.mark.parametrize("cost", ["latency", "macs", "size"])
def test_the_committed_fronts_are_made_again(
    cost: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ROOT / "docs" / "measurements" / "pareto" / cost
    command = (folder / "pareto.md").read_text().split("```")[1]
    monkeypatch.chdir(ROOT)
    made = pareto(capfd, *shlex.split(command)[3:])
    assert rounded(made) == rounded(json.loads((folder / "pareto.json").read_text()))
    assert {one["name"]: one["front"] for one in made["series"] if "published" not in one["name"]}
    for series in made["series"]:
        if "published" not in series["name"]:
            assert {point["figures"] for point in series["points"]} == {"mixed"}
            assert "EdgeViT-S" in series["front"]


def rounded(value: Any) -> Any:
    """Round every number, since another NumPy may add up in another order."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {key: rounded(item) for key, item in value.items()}
        case list():
            return [rounded(item) for item in value]
        case _:
            return value


def test_records_of_before_are_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    timing = bench(tmp_path / "b", {"MobileNetV2": 4.0, "DeiT-Ti": 5.0})
    document = json.loads((timing / "bench.json").read_text())
    del document["bundles"], document["regime"]["sittings"]
    for result in (*document["results"], document["control"]):
        del result["sittings"]
    (timing / "bench.json").write_text(json.dumps(document))
    assert len(pareto(capfd, timing / "bench.json")["series"][0]["points"]) == 2
