"""`evaluate` on a trained network: what it counts, what its gates demand, and that wrong bundles are noticed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import edgevit_deploy
from edgevit_deploy.cli import run
from edgevit_deploy.data.preprocess import normalise, read_pixels
from edgevit_deploy.errors import RunError
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.registry import Availability
from edgevit_deploy.session import Array
from edgevit_deploy.spec import imagenet_preprocess
from tests.helpers import trained
from tests.helpers.bundles import edit_manifest, rehash
from tests.helpers.evaluation import pictures, write_labels
from tests.helpers.fakes import FakeSession

PER_CLASS = 4
PICTURES = 10 * PER_CLASS
Capture = pytest.CaptureFixture[str]


def evaluate(capfd: Capture, *tokens: object, expected: int = 0) -> tuple[dict[str, Any], str]:
    """Run the command on the small validation set; return its document, and what it says to people."""
    capfd.readouterr()
    assert run(["evaluate", *map(str, tokens), "--data", str(pictures(PER_CLASS)), "--json"]) == expected
    captured = capfd.readouterr()
    return json.loads(captured.out), captured.err


@pytest.fixture
def coarser(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the fake runtime add seeded noise of a size to what it returns, as coarse arithmetic does."""
    right = FakeSession._run

    def set_noise(size: float) -> None:
        random = np.random.default_rng(1)

        def wrong(self: FakeSession, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
            outputs = right(self, feeds)
            return {name: array + random.normal(0, size, array.shape).astype(np.float32) for name, array in outputs.items()}

        monkeypatch.setattr(FakeSession, "_run", wrong)

    return set_noise


def test_the_figures_are_those_of_a_plain_loop(classifier: Path, capfd: Capture) -> None:
    """PyTorch in a loop over the files, with no code of the evaluation: class folders are not in class order."""
    document, said = evaluate(capfd, classifier, "--weights", trained.WEIGHTS)
    network = load_model(ModelOrigin(weights=trained.WEIGHTS, image_size=(64, 64))).network
    preprocess, hits, firsts = imagenet_preprocess((64, 64)), 0, 0
    for path in sorted(pictures(PER_CLASS).rglob("*.png")):
        pixels = read_pixels(path, preprocess)[np.newaxis]
        with torch.no_grad():
            row = network(torch.from_numpy(normalise(pixels, preprocess, "tensor")))[0]
        order = [trained.LABELS[place] for place in row.argsort(descending=True)[:5].tolist()]
        hits, firsts = hits + (path.parent.name in order), firsts + (path.parent.name == order[0])
    assert 30 <= firsts < PICTURES
    rows = {row["kind"]: row for row in document["rows"]}
    for row in rows.values():
        assert row["accuracy"]["top1"]["count"] == firsts
        assert row["accuracy"]["top5"]["count"] == hits
        assert row["accuracy"]["top1"]["of"] == PICTURES
    pairing = rows["bundle"]["pairing"]
    assert pairing["agreement"]["count"] == pairing["pictures"] == PICTURES
    assert 0 < pairing["largest_difference"] < pairing["bound"]
    assert rows["bundle"]["runtime"] == "fake runtime"
    assert document["data"]["classes"] == list(trained.LABELS)
    assert document["ok"] is True
    assert "accuracy, with 95 % intervals, on 40 pictures of" in said


def test_without_weights_there_is_accuracy_alone(classifier: Path, capfd: Capture) -> None:
    document, said = evaluate(capfd, classifier)
    (row,) = document["rows"]
    assert row["accuracy"]["top1"]["of"] == PICTURES
    assert row["pairing"] is None
    assert "--weights FILE adds the network" in said


def test_a_gate_passes_only_with_its_whole_interval(classifier: Path, capfd: Capture) -> None:
    """All 40 decisions are the network's, and 40 of 40 still means 91 % at least; 381 would mean 99 %."""
    demands = ("--min-agreement", "0.9", "--max-drop", "0.08")
    document, _ = evaluate(capfd, classifier, "--weights", trained.WEIGHTS, *demands)
    assert [gate["ok"] for gate in document["rows"][1]["gates"]] == [True, True]
    demands = ("--min-agreement", "0.99", "--max-drop", "0.01")
    document, said = evaluate(capfd, classifier, "--weights", trained.WEIGHTS, *demands, expected=1)
    agreement, drop = document["rows"][1]["gates"]
    assert (agreement["value"], drop["value"]) == (1, 0)
    assert agreement["needed"] == 381
    assert "too few pictures; about 381 with such shares would decide" in said
    assert document["ok"] is False


def test_a_coarser_bundle_flips_and_is_noticed(classifier: Path, coarser: Callable[[float], None], capfd: Capture) -> None:
    coarser(3)
    demands = ("--min-agreement", "0.9", "--max-drop", "0.08")
    document, said = evaluate(capfd, classifier, "--weights", trained.WEIGHTS, *demands, expected=1)
    network, bundle = document["rows"]
    pairing = bundle["pairing"]
    assert pairing["right_to_wrong"] > pairing["wrong_to_right"]
    won = network["accuracy"]["top1"]["count"] - pairing["right_to_wrong"] + pairing["wrong_to_right"]
    assert bundle["accuracy"]["top1"]["count"] == won
    assert pairing["mcnemar_p"] < 0.05
    assert pairing["over_bound"] == PICTURES
    assert pairing["flips_within_bound"] == 0
    assert len(pairing["flips"]) == PICTURES - pairing["agreement"]["count"]
    assert [gate["ok"] for gate in bundle["gates"]] == [False, False]
    assert "more pictures would not change that" in said
    assert "; 0 of them differ by no more than the bound" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": [0.0, 0.0, 0.0], "std": [2.0, 2.0, 2.0]}, "mean (0.0, 0.0, 0.0) against (0.485, 0.456, 0.406)"),
        pytest.param({"resize": [128, 128]}, "resize (128, 128) against (73, 73)", marks=pytest.mark.slow),
    ],
    ids=["statistics", "crop"],
)
def test_a_wrong_preprocessing_is_noticed(classifier: Path, capfd: Capture, change: dict[str, Any], said: str) -> None:
    """Parity cannot see it, since the tensors are right; the pictures show it."""
    edit_manifest(classifier, lambda document: document["preprocess"].update(change))
    demands = ("--weights", trained.WEIGHTS, "--max-drop", "0.08")
    document, text = evaluate(capfd, classifier, *demands, expected=1)
    assert document["rows"][1]["pairing"]["drop"] > 0.1
    assert said in text
    document, text = evaluate(capfd, classifier, *demands, "--preprocess", "bundle")
    assert document["rows"][1]["pairing"]["drop"] == 0, "the network then sees what the bundle sees"
    assert said not in text


def test_what_a_checkpoint_does_not_tell_is_the_bundles(fake_target: None, tmp_path: Path, capfd: Capture) -> None:
    """The weights alone, converted with the flag that they need: the network then sees what the bundle sees."""
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(trained.WEIGHTS), bare)
    flags = ("--weights", str(bare), "--image-size", "64", "--labels", str(write_labels(tmp_path / "labels.txt")))
    assert run(["fake", *flags, "--crop-ratio", "1", "--output", str(tmp_path)]) == 0
    document, said = evaluate(capfd, tmp_path / "fake-fp32", "--weights", bare)
    assert document["rows"][1]["pairing"]["drop"] == 0
    assert "another way" not in said


def test_bare_weights_are_opened_as_the_variant_of_the_bundle(fake_target: None, tmp_path: Path, capfd: Capture) -> None:
    """Several variants have the same tensors, and a file of these alone does not say which it is of."""
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(trained.WEIGHTS), bare)
    flags = ("--model", "edgevit_xxs_center", "--weights", str(bare), "--image-size", "64")
    assert run(["fake", *flags, "--labels", str(write_labels(tmp_path / "labels.txt")), "--output", str(tmp_path)]) == 0
    network, row = evaluate(capfd, tmp_path / "fake-fp32", "--weights", bare)[0]["rows"]
    assert (network["status"], network["reason"]) == ("ran", "")
    assert row["pairing"]["drop"] == 0
    assert row["pairing"]["agreement"]["value"] == 1


def test_permuted_labels_are_refused_or_lose(
    classifier: Path, tmp_path: Path, expect_error: Callable[..., str], capfd: Capture
) -> None:
    right, _ = evaluate(capfd, classifier)
    write_labels(classifier / "labels.txt", (*trained.LABELS[1:], trained.LABELS[0]))
    rehash(classifier)
    document, _ = evaluate(capfd, classifier)
    assert document["rows"][0]["accuracy"]["top1"]["value"] < 0.3 < right["rows"][0]["accuracy"]["top1"]["value"]
    flags = ("--data", pictures(PER_CLASS), "--labels", write_labels(tmp_path / "right.txt"))
    assert "line 1 is 'trouser', expected 't-shirt'" in expect_error(2, "evaluate", classifier, *flags)


def test_a_seeded_sample_has_each_classs_share(classifier: Path, capfd: Capture) -> None:
    documents = [evaluate(capfd, classifier, "--limit", "20", "--seed", seed)[0] for seed in ("1", "1", "2")]
    for document in documents:
        counts = [cell["pictures"] for cell in document["rows"][0]["accuracy"]["confusion"]]
        labels = [cell["label"] for cell in document["rows"][0]["accuracy"]["confusion"]]
        assert [sum(n for n, label in zip(counts, labels, strict=True) if label == place) for place in range(10)] == [2] * 10
        assert (document["data"]["used"], document["data"]["pictures"]) == (20, PICTURES)
    rows = [document["rows"][0]["accuracy"] for document in documents]
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]


def test_not_run_is_not_passed(classifier: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Availability(ok=False, detail="no such chip", fix="buy one")
    monkeypatch.setattr(FakeSession, "probe", classmethod(lambda _: gone))
    from edgevit_deploy.host import find_session

    find_session.cache_clear()
    try:
        document, said = evaluate(capfd, classifier, "--weights", trained.WEIGHTS, expected=3)
    finally:
        find_session.cache_clear()
    network, bundle = document["rows"]
    assert network["accuracy"]["top1"]["of"] == PICTURES
    assert (bundle["status"], bundle["accuracy"], bundle["pairing"]) == ("not run", None, None)
    assert "not run. fake: no such chip (buy one)" in said


def test_what_runs_in_place_of_the_file_is_not_the_file(
    classifier: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = FakeSession._load

    def elsewhere(self: FakeSession) -> None:
        load(self)
        self.substitute = "the processor computes in float32"

    monkeypatch.setattr(FakeSession, "_load", elsewhere)
    document, _ = evaluate(capfd, classifier, expected=3)
    assert (document["rows"][0]["status"], document["rows"][0]["reason"]) == ("not run", "the processor computes in float32")


def test_a_runtime_that_fails_is_a_failed_row(classifier: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: FakeSession, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        raise RunError("it stopped")

    monkeypatch.setattr(FakeSession, "_run", fail)
    document, said = evaluate(capfd, classifier, "--weights", trained.WEIGHTS, expected=1)
    assert (document["rows"][1]["status"], document["rows"][1]["reason"]) == ("failed", "it stopped")
    assert "failed. it stopped" in said


def test_the_library_gives_the_same(classifier: Path, capfd: Capture) -> None:
    import pickle

    document, _ = evaluate(capfd, classifier)
    found = edgevit_deploy.evaluate(classifier, data=pictures(PER_CLASS), workers=1, batch=7)
    assert found.bundles[0].accuracy is not None
    assert found.bundles[0].accuracy.top1.count == document["rows"][0]["accuracy"]["top1"]["count"]
    assert pickle.loads(pickle.dumps(found)) == found
