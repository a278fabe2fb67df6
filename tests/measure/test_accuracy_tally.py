"""From outputs to counts: every count against a plain loop over the pictures, and outputs that are not finite."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, top_k_accuracy_score

from edgevit_deploy.data.image_folder import ImageFolder
from edgevit_deploy.measure.accuracy.result import Accuracy, Outputs, Pairing
from edgevit_deploy.measure.accuracy.shards import ShardLogits
from edgevit_deploy.measure.accuracy.tally import AccuracyTally, PairingTally, softmax
from edgevit_deploy.parity.gate import NOT_FINITE


def folder(classes: int, pictures: int) -> ImageFolder:
    targets = np.sort(np.random.default_rng(0).integers(0, classes, pictures))
    names = tuple(f"class-{place:03}" for place in range(classes))
    return ImageFolder(
        root=Path("data"), classes=names, files=tuple(f"{index}.png" for index in range(pictures)), targets=targets
    )


def folder_of(data: ImageFolder, kept: np.ndarray) -> ImageFolder:
    files = tuple(file for file, stays in zip(data.files, kept, strict=True) if stays)
    return replace(data, files=files, targets=data.targets[kept])


def shard(positions: np.ndarray, logits: np.ndarray) -> ShardLogits:
    return ShardLogits(key="", status="ran", positions=positions, logits=logits.astype(np.float32), seconds=1.0)


def logits_of(data: ImageFolder, seed: int, weight: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(len(data), len(data.classes)))
    return (noise + weight * np.eye(len(data.classes))[data.targets]).astype(np.float32)


def accuracy(data: ImageFolder, logits: np.ndarray, outputs: Outputs = "logits", parts: int = 3) -> Accuracy:
    tally = AccuracyTally(classes=len(data.classes), outputs=outputs)
    for positions in np.array_split(np.arange(len(data)), parts):
        tally.add(shard(positions, logits[positions]), data.targets)
    return tally.accuracy()


def pairing(
    data: ImageFolder, network: np.ndarray, bundle: np.ndarray, outputs: Outputs = "logits", bound: float = 0.1
) -> Pairing:
    tally = PairingTally(folder=data, outputs=outputs, bound=bound)
    for positions in np.array_split(np.arange(len(data)), 4):
        tally.add(shard(positions, network[positions]), shard(positions, bundle[positions]))
    return tally.pairing()


@pytest.mark.parametrize("classes", [2, 5, 6, 10, 40])
def test_accuracy_is_scikit_learns(classes: int) -> None:
    data = folder(classes, 300)
    logits = logits_of(data, 1, 1.5)
    found = accuracy(data, logits)
    everything = range(classes)
    assert found.top1.count == (logits.argmax(axis=1) == data.targets).sum()
    if classes > 5:
        assert found.top5 is not None
        assert found.top5.count == round(300 * top_k_accuracy_score(data.targets, logits, k=5, labels=everything))
    else:
        assert found.top5 is None
    matrix = confusion_matrix(data.targets, logits.argmax(axis=1), labels=everything)
    cells = {(cell.label, cell.seen): cell.pictures for cell in found.confusion}
    assert all(matrix[place] == count for place, count in cells.items())
    if classes <= 30:
        assert sum(cells.values()) == 300
    else:
        wrong = np.sort((matrix - np.diag(np.diag(matrix))).ravel())[::-1]
        assert sorted(cells.values(), reverse=True) == wrong[:30].tolist()


def test_ties_go_to_the_lower_class() -> None:
    """As `argmax` has it: all outputs alike, so class 0 is first and classes 0 to 4 are the first five."""
    data = folder(8, 80)
    found = accuracy(data, np.zeros((80, 8)))
    assert found.top1.count == (data.targets == 0).sum()
    assert found.top5 is not None
    assert found.top5.count == (data.targets < 5).sum()


def test_probabilities_and_logits_decide_alike() -> None:
    data = folder(10, 200)
    logits = logits_of(data, 2, 2.0)
    one, other = accuracy(data, logits), accuracy(data, softmax(logits.astype(np.float64)), "probabilities")
    assert (one.top1, one.top5, one.confusion) == (other.top1, other.top5, other.confusion)
    assert one.calibration_error == pytest.approx(other.calibration_error, abs=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_wrong(value: float) -> None:
    data = folder(6, 60)
    logits = logits_of(data, 3, 9.0)
    clean = accuracy(data, logits)
    assert clean.top1.count == 60
    broken = logits.copy()
    broken[7, data.targets[7]] = value
    found = accuracy(data, broken)
    assert (found.top1.count, found.not_finite) == (59, 1)
    others = np.arange(60) != 7
    alone = accuracy(folder_of(data, others), logits[others])
    assert found.calibration_error == alone.calibration_error, "no confidence is not a confidence of 0"
    pair = pairing(data, logits, broken)
    assert (pair.right_to_wrong, pair.agreement.count, pair.over_bound) == (1, 59, 1)
    assert pair.largest_difference == pair.mean_difference == NOT_FINITE
    assert pair.flips[0].bundle == "not finite"


def test_without_any_finite_output_there_is_no_calibration() -> None:
    data = folder(6, 60)
    found = accuracy(data, np.full((60, 6), np.nan))
    assert (found.calibration_error, found.not_finite, found.top1.count) == (None, 60, 0)


@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_pairs_are_counted_like_one_by_one(outputs: Outputs) -> None:
    data = folder(7, 400)
    network, bundle = logits_of(data, 4, 1.0), logits_of(data, 4, 1.0) + logits_of(data, 5, 0.0) * 0.3
    exact = softmax(network.astype(np.float64)) if outputs == "probabilities" else network
    actual = softmax(bundle.astype(np.float64)) if outputs == "probabilities" else bundle
    bound = 0.04 if outputs == "probabilities" else 0.25
    found = pairing(data, network, actual, outputs, bound)
    counts = dict.fromkeys(("both right", "both wrong", "lost", "won", "other", "over", "within"), 0)
    for before, after, target in zip(exact, actual, data.targets, strict=True):
        first, second = int(np.argmax(before)), int(np.argmax(after))
        if first == second:
            counts["both right" if first == target else "both wrong"] += 1
        else:
            counts["lost" if first == target else "won" if second == target else "other"] += 1
            counts["within"] += np.abs(before - after).max() <= bound
        counts["over"] += np.abs(before - after).max() > bound
    assert 0 < counts["within"] < counts["lost"] + counts["won"] + counts["other"]
    assert counts["lost"] > 3
    assert counts["other"] > 3
    assert [found.both_right, found.both_wrong_alike] == [counts["both right"], counts["both wrong"]]
    assert [found.right_to_wrong, found.wrong_to_right, found.wrong_to_another] == [
        counts["lost"],
        counts["won"],
        counts["other"],
    ]
    assert [found.over_bound, found.flips_within_bound] == [counts["over"], counts["within"]]
    assert found.largest_difference == pytest.approx(np.abs(exact - actual).max(), rel=1e-5)
    assert found.mean_difference == pytest.approx(np.abs(exact - actual).mean(), rel=1e-5)
    assert found.pictures == 400
    margins = [flip.margin for flip in found.flips]
    assert len(margins) == found.flipped
    assert margins == sorted(margins, reverse=True)
    for flip in found.flips:  # whatever flips a decision is at least half of its margin
        assert flip.difference >= flip.margin / 2 - 1e-6, "so what differs by a bound at most has a margin of twice that"
        assert flip.label == data.classes[data.targets[flip.position]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_two_that_are_not_finite_agree_on_nothing(value: float, outputs: Outputs) -> None:
    """Nor are they explained by a bound, although the lead of a first class that there is not is 0."""
    data = folder(6, 60)
    logits = logits_of(data, 3, 9.0)
    broken = logits.copy()
    broken[7] = value
    broken[9, 0] = value
    bundle = softmax(logits.astype(np.float64)) if outputs == "probabilities" else logits.copy()
    bundle[~np.isfinite(broken)] = value
    found = pairing(data, broken, bundle, outputs, bound=0.5)
    assert found.flips_within_bound == 0
    assert found.flipped == found.wrong_to_another == found.over_bound == 2
    assert (found.agreement.count, found.agreement.of) == (58, 60)
    assert {(flip.network, flip.bundle) for flip in found.flips} == {("not finite", "not finite")}


def test_a_difference_far_beyond_the_bound_explains_nothing() -> None:
    """Two nearly equal classes, and a file that is off by a hundred bounds: the narrow lead is no excuse."""
    data = folder(4, 40)
    network, bundle = np.zeros((40, 4)), np.zeros((40, 4))
    network[:, 0], network[:, 1] = 1.0, 0.95
    bundle[:20, 1], bundle[20:, :2] = 10.0, (0.95, 1.0)
    found = pairing(data, network, bundle, bound=0.1)
    assert (found.flipped, found.over_bound, found.flips_within_bound) == (40, 20, 20)


def test_only_pictures_that_both_have_are_compared() -> None:
    data = folder(3, 10)
    logits = logits_of(data, 6, 0.0)
    tally = PairingTally(folder=data, outputs="logits", bound=None)
    tally.add(shard(np.arange(1, 9), logits[1:9]), shard(np.arange(4, 10), logits[4:10] + 1))
    tally.add(shard(np.array([0]), logits[:1]), shard(np.empty(0, np.int64), np.empty((0, 0))))
    found = tally.pairing()
    assert (found.pictures, found.flipped, found.bound, found.over_bound) == (5, 0, None, None)
    assert found.largest_difference == pytest.approx(1, rel=1e-6)
