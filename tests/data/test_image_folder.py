"""A tree of classes: what is listed in which order, what is passed over, what is refused, and what sample and digest are of."""

import errno
import itertools
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.data.image_folder import ImageFolder, check_same_classes, is_image_folder, open_image_folder
from edgevit_deploy.data.photographs import find_pictures
from edgevit_deploy.data.pictures import PassedOver, why_not
from edgevit_deploy.errors import UsageError
from tests.helpers.pictures import gradient, save
from tests.helpers.trained import LABELS, write_pictures

COUNTS = {"cat": 3, "ant": 2, "Dog": 4, "bee 2": 1}


def tree(root: Path, counts: dict[str, int] = COUNTS) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            save(root / name / f"{index}.png", gradient(4 + index, 5))
    return root


def refused(root: Path, classes: tuple[str, ...] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        open_image_folder(root, classes=classes)
    message = str(caught.value)
    assert message.startswith(f"--data {root}")
    assert "\n" not in message
    return message


def test_classes_are_sorted_and_pictures_are_in_their_order(tmp_path: Path) -> None:
    folder = open_image_folder(tree(tmp_path))
    assert folder.classes == ("Dog", "ant", "bee 2", "cat")
    assert folder.files == tuple(f"{name}/{index}.png" for name in folder.classes for index in range(COUNTS[name]))
    assert folder.targets.tolist() == [0, 0, 0, 0, 1, 1, 2, 3, 3, 3]
    assert len(folder) == 10
    assert folder.path(6) == tmp_path / "bee 2" / "0.png"
    assert folder.passed_over == ()


@pytest.mark.parametrize("order", list(itertools.permutations(["cat", "ant", "Dog", "bee 2"]))[::5])
def test_named_classes_have_their_order(order: tuple[str, ...], tmp_path: Path) -> None:
    folder = open_image_folder(tree(tmp_path), classes=order)
    assert folder.classes == order
    assert [file.split("/")[0] for file in folder.files] == [order[target] for target in folder.targets]


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("cat", "ant", "Dog"), "4 classes, with 'bee 2', not among them; the 3 expected are 'cat', 'ant', 'Dog'"),
        (("cat", "ant", "Dog", "bee 2", "fox"), "4 classes, without 'fox'; the 5 expected are 'cat', 'ant', 'Dog' and 2 more"),
        (("tench", "ant", "Dog", "bee 2"), "without 'tench' and with 'cat', not among them"),
        (("a", "b", "c", "d", "e"), "without 'a', 'b', 'c' and 2 more and with 'Dog', 'ant', 'bee 2' and 1 more, not among them"),
        (("cat", "cat", "ant", "Dog", "bee 2"), "two classes are to be named 'cat'"),
    ],
)
def test_other_classes_are_refused_with_the_first_differences(classes: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert said in refused(tree(tmp_path), classes)


def test_many_classes_are_compared_at_once() -> None:
    names = [f"n{index:08}" for index in range(50_000)]
    check_same_classes(names, dict.fromkeys(reversed(names)), "here")
    with pytest.raises(UsageError, match="with 'z', not among them"):
        check_same_classes(names, [*names, "z"], "here")


def test_what_belongs_to_no_class_is_passed_over_and_named(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "cat" / "._0.png").write_bytes(b"\0\5\26\7")
    (tmp_path / "cat" / ".cache").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.txt").write_text("mine")
    folder = open_image_folder(tmp_path)
    assert len(folder) == 10
    assert set(folder.passed_over) == {
        PassedOver(file="cat/._0.png", why="hidden"),
        PassedOver(file="cat/.cache", why="hidden"),
        PassedOver(file=".git", why="hidden"),
        PassedOver(file="readme.txt", why="beside the class folders"),
    }


def test_nested_folders_belong_to_their_class(tmp_path: Path) -> None:
    tree(tmp_path, {"cat": 1, "dog": 1})
    tree(tmp_path / "cat" / "2019", {"may": 2})
    assert open_image_folder(tmp_path).files == ("cat/0.png", "cat/2019/may/0.png", "cat/2019/may/1.png", "dog/0.png")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    tree(tmp_path / "data", {"cat": 1, "dog": 1})
    tree(tmp_path / "elsewhere", {"more": 2})
    for name, target in (("cat/more", "elsewhere/more"), ("cat/up", "data"), ("dog/self", "data/dog"), ("fox", "elsewhere/more")):
        (tmp_path / "data" / name).symlink_to(tmp_path / target, target_is_directory=True)
    folder = open_image_folder(tmp_path / "data")
    assert Counter(folder.targets.tolist()) == {0: 3, 1: 1, 2: 2}
    assert {item.file for item in folder.passed_over} == {"cat/up", "dog/self"}


def test_a_link_to_itself_is_a_file_that_is_broken(tmp_path: Path) -> None:
    """Nothing says whether it is a folder; wherever it lies, it is no reason to read no folder at all."""
    for place in (tree(tmp_path / "data"), tmp_path / "data" / "cat", tmp_path / "data" / "cat" / "deep"):
        place.mkdir(exist_ok=True)
        (place / "round").symlink_to(place / "round")
    folder = open_image_folder(tmp_path / "data")
    assert {"cat/round", "cat/deep/round"} <= set(folder.files), "whoever reads them names them"
    assert folder.passed_over == (PassedOver(file="round", why="beside the class folders"),)
    assert is_image_folder(tmp_path / "data")
    assert why_not(tmp_path / "data" / "round") == os.strerror(errno.ELOOP)


def close(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody look at a path; for root, as whom tests may run, no permission does that."""
    look = Path.stat

    def look_at(path: Path, **how: bool) -> os.stat_result:
        if path == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return look(path, **how)

    monkeypatch.setattr(Path, "stat", look_at)


def test_a_class_that_nobody_may_look_at_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close(tree(tmp_path) / "cat", monkeypatch)
    assert refused(tmp_path) == f"--data {tmp_path}/cat: cannot be read (Permission denied); check its permissions"


@pytest.mark.parametrize("look", [open_image_folder, find_pictures])
def test_a_folder_that_nobody_may_look_at_is_one_line(
    look: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close(tree(tmp_path), monkeypatch)
    with pytest.raises(UsageError, match="not a folder"):
        look(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "fox").mkdir(), "no picture of class 'fox'; add some, or remove the class"),
        (lambda root: tree(root, {"fox": 0, "gnu": 0}), "no picture of class 'fox', 'gnu'"),
        (lambda root: (tree(root, {"fox": 0}) / "fox" / "a.jpg").write_text("no"), "no picture of class 'fox'"),
        (lambda root: (tree(root, {"fox": 0}) / "fox" / ".a.jpg").write_text("no"), "no picture of class 'fox'"),
        (lambda root: os.mkfifo(tree(root, {"fox": 0}) / "fox" / "a.jpg"), "no picture of class 'fox'"),
    ],
    ids=["empty", "two", "no picture", "hidden", "a pipe"],
)
def test_a_class_without_a_picture_is_refused(change: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    change(tree(tmp_path))
    assert said in refused(tmp_path)


def test_a_pipe_among_pictures_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tree(tmp_path) / "cat" / "00.png")
    assert "cat/00.png" in open_image_folder(tmp_path).files


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: None, "no subfolder in it; expected one subfolder of pictures a class"),
        (lambda root: tree(root, {"cat": 2}), "one class, 'cat'; two at least"),
        (lambda root: save(root / "a.png", gradient(4, 4)), "no subfolder in it"),
        (lambda root: [tree(root / split) for split in ("train", "val")], "its subfolders are splits, not classes; give --data"),
    ],
    ids=["empty", "one class", "flat", "splits"],
)
def test_other_layouts_are_refused(make: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    make(tmp_path)
    assert said in refused(tmp_path)


def test_splits_are_known_by_their_depth(tmp_path: Path) -> None:
    """The control of the test above: classes may have such names."""
    assert open_image_folder(tree(tmp_path, {"test": 1, "train": 1})).classes == ("test", "train")


def test_no_folder_is_refused(tmp_path: Path) -> None:
    assert "not a folder" in refused(tmp_path / "nowhere")
    assert "not a folder" in refused(save(tmp_path / "a.png", gradient(4, 4)))
    assert not is_image_folder(tmp_path / "nowhere")
    assert not is_image_folder(tmp_path)
    assert is_image_folder(tree(tmp_path))


def of_sizes(root: Path, sizes: list[int]) -> ImageFolder:
    return ImageFolder(
        root=root,
        classes=tuple(f"{index:03}" for index in range(len(sizes))),
        files=tuple(str(index) for index in range(sum(sizes))),
        targets=np.repeat(np.arange(len(sizes)), sizes),
    )


def test_a_sample_has_each_classs_share(tmp_path: Path) -> None:
    counts = [1, 5, 50, 300, 644]
    folder = of_sizes(tmp_path, counts)
    for size in (1, 7, 10, 100, 333, 999):
        sample = folder.sample(size, seed=3)
        assert len(set(sample.tolist())) == size
        assert sample.tolist() == sorted(sample)
        taken = np.bincount(folder.targets[sample], minlength=5)
        assert all(abs(share - size * count / 1000) <= 1 for share, count in zip(taken, counts, strict=True))
    assert folder.sample(1000, seed=3).tolist() == folder.sample(5000, seed=4).tolist() == list(range(1000))


def test_a_sample_depends_on_its_seed_alone(tmp_path: Path) -> None:
    folder = open_image_folder(write_pictures(tmp_path / "val", "val", 20))
    assert folder.sample(50, seed=1).tolist() == folder.sample(50, seed=1).tolist()
    assert folder.sample(50, seed=1).tolist() != folder.sample(50, seed=2).tolist()
    assert np.bincount(folder.targets[folder.sample(50, seed=1)]).tolist() == [5] * 10


@pytest.mark.parametrize(("classes", "size", "count"), [(100, 50, 50), (100, 50, 1), (10, 50, 55), (3, 4, 2)])
def test_the_seed_decides_which_of_equal_classes_have_one_more(classes: int, size: int, count: int, tmp_path: Path) -> None:
    """Every class as often as any other: none is left out for its name. A sample is that of its seed, and even."""
    folder, seeds = of_sizes(tmp_path, [size] * classes), 1000
    taken = np.array([np.bincount(folder.targets[folder.sample(count, seed)], minlength=classes) for seed in range(seeds)])
    assert set(np.unique(taken)) == {count // classes, count // classes + 1}
    assert len({tuple(row) for row in taken}) > min(classes, 20) / 2, "other seeds choose other classes"
    share = count / classes
    spread = np.sqrt(seeds * (share % 1) * (1 - share % 1))  # of a binomial distribution, to which this one is close
    assert np.abs(taken.sum(axis=0) - seeds * share).max() < 5 * spread


@pytest.mark.parametrize(
    "change",
    [
        lambda root: save(root / "cat" / "new.png", gradient(4, 4)),
        lambda root: (root / "cat" / "0.png").unlink(),
        lambda root: (root / "cat" / "0.png").rename(root / "ant" / "9.png"),
        lambda root: (root / "cat" / "0.png").rename(root / "cat" / "9.png"),
        lambda root: (root / "cat" / "0.png").write_bytes((root / "cat" / "0.png").read_bytes() + b"\0"),
        lambda root: (root / "cat").rename(root / "Cat"),
    ],
    ids=["added", "removed", "another class", "another name", "another size", "a class renamed"],
)
def test_a_digest_changes_with_the_folder(change: Callable[[Path], object], tmp_path: Path) -> None:
    before = open_image_folder(tree(tmp_path)).digest()
    assert open_image_folder(tmp_path).digest() == before
    (tmp_path / "cat" / ".hidden").write_text("no picture")
    assert open_image_folder(tmp_path).digest() == before
    change(tmp_path)
    assert open_image_folder(tmp_path).digest() != before


def test_a_digest_knows_the_order_of_the_classes_and_not_the_place(tmp_path: Path) -> None:
    first = open_image_folder(tree(tmp_path / "a"))
    assert open_image_folder(tree(tmp_path / "b")).digest() == first.digest()
    assert open_image_folder(tmp_path / "a", classes=first.classes[::-1]).digest() != first.digest()


def test_a_picture_that_is_gone_is_one_line(tmp_path: Path) -> None:
    folder = open_image_folder(tree(tmp_path))
    folder.path(0).unlink()
    with pytest.raises(UsageError, match=r"cannot be read .*list the folder again"):
        folder.digest()


def test_names_that_are_not_utf_8_are_names(tmp_path: Path) -> None:
    named = tree(tmp_path) / os.fsdecode(b"\xff")
    named.mkdir()
    save(named / os.fsdecode(b"\xfe.png"), gradient(4, 4))
    folder = open_image_folder(tmp_path)
    assert "\udcff" in folder.classes
    assert folder.path(len(folder) - 1).is_file()
    assert len(folder.digest()) == 64


def test_the_tree_of_a_data_set_is_read(tmp_path: Path) -> None:
    folder = open_image_folder(write_pictures(tmp_path / "val", "val", 2), classes=LABELS)
    assert folder.classes == LABELS
    assert folder.targets.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]
