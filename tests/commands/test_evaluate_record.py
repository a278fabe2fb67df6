"""An evaluation inside of a bundle: hashed, whole, replaced as a whole, read with distrust, and shown on pages."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import markupsafe
import pytest

import edgevit_deploy
from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.accuracy import Shard, ShardLogits, run_in_turn
from edgevit_deploy.measure.accuracy.record import read_record
from tests.helpers import trained
from tests.helpers.bundles import edit_manifest, rehash
from tests.helpers.evaluation import pictures, write_labels
from tests.helpers.fakes import FakeSession
from tests.helpers.report_page import HOSTILE, Page

ErrorCheck = Callable[..., str]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def flipping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fake runtime take class 0 for the first class of every second picture."""
    right, turn = FakeSession._run, iter(range(10**6))

    def wrong(self: FakeSession, feeds: Any) -> Any:
        outputs = right(self, feeds)
        for array in outputs.values():
            array[:, 0] += 100 * (next(turn) % 2)
        return outputs

    monkeypatch.setattr(FakeSession, "_run", wrong)


def record(bundle: Path, *tokens: str) -> bytes:
    data = ["--data", str(pictures(2)), "--weights", str(trained.WEIGHTS)]
    assert run(["evaluate", str(bundle), *data, "--record", *tokens]) == 0
    return (bundle / "evaluation.json").read_bytes()


def edit_record(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what is recorded and hash it again, as anyone could."""
    path = bundle / "evaluation.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    rehash(bundle)


def test_a_recorded_evaluation_is_part_of_the_bundle(classifier: Path, capfd: Capture, expect_error: ErrorCheck) -> None:
    before = {path.name: path.read_bytes() for path in classifier.iterdir() if path.is_file() and path.name != "manifest.json"}
    manifest = json.loads((classifier / "manifest.json").read_text())
    written = record(classifier)
    after = json.loads((classifier / "manifest.json").read_text())
    assert {file["path"] for file in after["files"]} - {file["path"] for file in manifest["files"]} == {"evaluation.json"}
    assert {name: value for name, value in after.items() if name != "files"} == {
        name: value for name, value in manifest.items() if name != "files"
    }, "a reader that knows nothing of evaluations finds the same manifest"
    assert all((classifier / name).read_bytes() == data for name, data in before.items())
    assert run(["verify", str(classifier)]) == 0
    found = read_record(classifier, read_manifest(classifier))
    assert found is not None
    assert found.accuracy.top1.of == found.data.used == 20
    assert str(pictures(2).parent.parent) not in written.decode()
    capfd.readouterr()
    assert run(["inspect", str(classifier), "--json"]) == 0
    assert "20 of 20 decided as by the network" in json.loads(capfd.readouterr().out)["accuracy"]
    (classifier / "evaluation.json").write_bytes(written.replace(b'"count": ', b'"count":  '))
    assert "changed since it was written" in expect_error(1, "verify", classifier)


def test_recording_again_gives_the_same_bytes_and_computes_nothing(classifier: Path, tmp_path: Path, capfd: Capture) -> None:
    output = ("--output", str(tmp_path / "kept"))
    first, manifest = record(classifier, *output), (classifier / "manifest.json").read_bytes()
    assert record(classifier, *output) == first
    assert (classifier / "manifest.json").read_bytes() == manifest
    assert "2 of 2 shards were there already" in capfd.readouterr().err, "what is recorded makes no other file of the bundle"
    assert sorted(path.name for path in classifier.parent.iterdir()) == ["fake-fp32"]


def another_preprocessing(bundle: Path) -> None:
    edit_manifest(bundle, lambda document: document["preprocess"].update(mean=[0.0, 0.0, 0.0]))


def another_labels_file(bundle: Path) -> None:
    write_labels(bundle / "labels.txt", (*trained.LABELS[1:], trained.LABELS[0]))
    rehash(bundle)


def another_file(bundle: Path) -> None:
    with (bundle / "model.fake").open("ab") as file:
        file.write(b" ")
    rehash(bundle)


CHANGES = pytest.mark.parametrize("change", [another_preprocessing, another_labels_file, another_file])


@CHANGES
def test_the_record_of_another_bundle_is_refused(
    classifier: Path, expect_error: ErrorCheck, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    other = Path(shutil.copytree(classifier, tmp_path / "other"))
    record(classifier)
    shutil.copy(classifier / "evaluation.json", other)
    rehash(other)
    assert read_record(other, read_manifest(other)) is not None, "the control: a copy of the bundle is the same bundle"
    change(other)
    for command in ("report", "inspect"):
        error = expect_error(1, command, other)
        assert "not a valid evaluation (it is about another file); evaluate again with --record" in error


@CHANGES
def test_a_bundle_that_was_exchanged_meanwhile_gets_no_figures(classifier: Path, change: Callable[[Path], None]) -> None:
    def exchanging(shards: Sequence[Shard]) -> Iterator[ShardLogits]:
        yield from run_in_turn(shards)
        change(classifier)

    with pytest.raises(UsageError, match="is not what it was when it was evaluated, so nothing is recorded in it"):
        edgevit_deploy.evaluate(classifier, data=pictures(1), run_shards=exchanging, record=True)
    assert not (classifier / "evaluation.json").exists()
    assert read_record(classifier, open_bundle(classifier)) is None
    assert sorted(path.name for path in classifier.parent.iterdir()) == ["fake-fp32"]


def test_a_failed_bundle_beside_it_stays(classifier: Path) -> None:
    failed = Path(shutil.copytree(classifier, classifier.with_name("fake-fp32.failed")))
    record(classifier)
    assert (failed / "manifest.json").is_file()


def test_without_record_nothing_is_written(classifier: Path) -> None:
    before = sorted(path.name for path in classifier.rglob("*"))
    assert run(["evaluate", str(classifier), "--data", str(pictures(1))]) == 0
    assert sorted(path.name for path in classifier.rglob("*")) == before


@pytest.mark.usefixtures("flipping")
def test_pages_show_confusion_and_flipped_pictures(classifier: Path, tmp_path: Path) -> None:
    record(classifier, "--output", str(tmp_path / "kept"))
    assert run(["report", str(classifier), "--output", str(tmp_path / "page.html")]) == 0
    for path in (tmp_path / "page.html", tmp_path / "kept" / "evaluation.html"):
        text = path.read_text()
        page = Page(text)
        found = read_record(classifier, read_manifest(classifier))
        assert found is not None
        assert found.pairing is not None
        assert len(found.pairing.flips) >= 5
        sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
        assert len(sources) == len(found.pairing.flips)
        assert all(source.startswith("data:image/jpeg;base64,/9j/") for source in sources)
        assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in page.attributes
        assert "script" not in page.tags
        assert f"top-1 {found.accuracy.top1.value:.2%}" in page.text
        for flip in found.pairing.flips:
            assert flip.file in page.text
            assert flip.bundle == "t-shirt"
        cells = [value for tag, name, value in page.attributes if (tag, name) == ("td", "title")]
        assert f"2 of 2 pictures of {trained.LABELS[0]} taken for {trained.LABELS[0]}" in cells
        assert len(cells) == 100
        assert str(tmp_path) not in text


@pytest.mark.usefixtures("flipping")
def test_everything_in_a_hostile_record_is_text(classifier: Path, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["data"].update(name=HOSTILE, classes=[f"{HOSTILE}{place}" for place in range(10)])
        document["runtime"] = document["network_runtime"] = HOSTILE
        document["notes"] = [HOSTILE]
        document["tools"] = {HOSTILE: HOSTILE}
        for flip in document["pairing"]["flips"]:
            flip.update(file=HOSTILE, label=HOSTILE, network=HOSTILE, bundle=HOSTILE)

    record(classifier)
    page = tmp_path / "page.html"
    assert run(["report", str(classifier), "--output", str(page)]) == 0
    clean = Page(page.read_text())
    edit_record(classifier, change)
    assert run(["report", str(classifier), "--output", str(page)]) == 0
    found = Page(page.read_text())
    assert set(found.tags) == set(clean.tags)
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert "<script" not in page.read_text()
    assert str(markupsafe.escape(HOSTILE)) in page.read_text()


IMPOSSIBLE: tuple[tuple[Callable[[dict[str, Any]], object], str], ...] = (
    (lambda document: document.update(version=2), "version"),
    (lambda document: document["accuracy"]["top1"].update(count=21), "21 of 20 pictures"),
    (lambda document: document["accuracy"]["top1"].update(count=-1), "-1 of 20 pictures"),
    (lambda document: document["accuracy"]["top1"].update(of=10**12), "of 1000000000000 pictures"),
    (lambda document: document["pairing"].update(right_to_wrong=10**12), "pairs of"),
    (lambda document: document["pairing"].update(both_right=-(10**3)), "pairs of"),
    (lambda document: document["accuracy"]["confusion"][0].update(label=10), "a confusion that is not of its classes"),
    (lambda document: document["data"].update(classes=[]), "0 classes"),
    (lambda document: document["data"].update(broken=21), "21 of 20 pictures that cannot be decoded"),
    (lambda document: document["thumbnails"].pop(), "thumbnails of"),
    (lambda document: document["thumbnails"].__setitem__(0, "PHN2Zz4="), "a thumbnail that is no JPEG"),
    (lambda document: document["thumbnails"].__setitem__(0, '"><script>'), "base64"),
    (lambda document: document.pop("accuracy"), "accuracy"),
)


@pytest.mark.usefixtures("flipping")
def test_a_record_that_cannot_be_is_refused(classifier: Path, expect_error: ErrorCheck) -> None:
    good = record(classifier)
    for change, text in IMPOSSIBLE:
        (classifier / "evaluation.json").write_bytes(good)
        edit_record(classifier, change)
        error = expect_error(1, "report", classifier)
        assert "not a valid evaluation" in error
        assert text in error
    assert "not a valid evaluation" in expect_error(1, "inspect", classifier)


def test_many_classes_have_a_list_in_place_of_a_matrix() -> None:
    from edgevit_deploy.commands.report.page import render_evaluation
    from edgevit_deploy.measure.accuracy.record import EvaluationRecord
    from edgevit_deploy.measure.accuracy.result import Accuracy, Confused, DataRecord, Share

    names = tuple(f"class-{place}" for place in range(40))
    confusion = (Confused(label=3, seen=4, pictures=7), Confused(label=4, seen=3, pictures=2))
    share = Share(count=90, of=100)
    accuracy = Accuracy(top1=share, top5=share, calibration_error=0.1, not_finite=0, confusion=confusion)
    data = DataRecord(name="a/val", digest="0", pictures=100, used=100, broken=0, seed=None, classes=names)
    found = EvaluationRecord(version=1, identity="0", data=data, runtime="r", tools={}, accuracy=accuracy)
    page = Page(render_evaluation({"one": found}, ["a line"]))
    assert "class-3 taken for class-4: 7" in page.text
    assert "img" not in page.tags
    assert "the network was not run" in page.text
