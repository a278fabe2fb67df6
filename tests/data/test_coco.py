"""COCO's layout: both ways to lay it out, and everything that a file of annotations from outside may get wrong."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.data.coco import classes_of, open_coco_folder
from edgevit_deploy.errors import UsageError
from tests.helpers.coco import CATEGORIES, coco_document, write_coco


def test_pictures_boxes_and_categories_are_read(tmp_path: Path) -> None:
    document = coco_document(4, seed=1)
    document["images"].reverse()
    del document["annotations"][0]["area"], document["annotations"][0]["iscrowd"]
    folder = open_coco_folder(write_coco(tmp_path / "data", document))
    assert [picture.id for picture in folder.pictures] == [11, 22, 33, 44]
    assert folder.path(0).is_file()
    assert folder.categories == CATEGORIES
    first = document["annotations"][0]
    assert folder.annotations[0].box == tuple(first["bbox"])
    assert folder.annotations[0].area == first["bbox"][2] * first["bbox"][3]
    assert [each.crowd for each in folder.annotations[1:]] == [bool(each["iscrowd"]) for each in document["annotations"][1:]]


@pytest.mark.parametrize(("said", "crowd"), [(False, False), (True, True), (0, False), (1, True)])
def test_a_crowd_is_said_by_a_number_or_in_words(tmp_path: Path, said: object, crowd: bool) -> None:
    document = coco_document(2, seed=1)
    document["annotations"][0]["iscrowd"] = said
    assert open_coco_folder(write_coco(tmp_path / "data", document)).annotations[0].crowd is crowd


@pytest.mark.parametrize("said", ["false", 0.5, None, [0]])
def test_what_is_neither_is_refused(tmp_path: Path, said: object) -> None:
    document = coco_document(2, seed=1)
    document["annotations"][0]["iscrowd"] = said
    with pytest.raises(UsageError, match="not COCO's annotations"):
        open_coco_folder(write_coco(tmp_path / "data", document))


def test_the_layout_of_coco_itself(tmp_path: Path) -> None:
    plain = write_coco(tmp_path / "plain", coco_document(2, seed=1))
    data = tmp_path / "coco"
    (data / "annotations").mkdir(parents=True)
    (plain / "annotations.json").rename(data / "annotations" / "instances_val2017.json")
    (data / "annotations" / "captions_val2017.json").write_text("{}")
    (plain / "images").rename(data / "val2017")
    assert open_coco_folder(data).path(0).is_file()
    other = data / "annotations" / "instances_train2017.json"
    other.write_bytes((data / "annotations" / "instances_val2017.json").read_bytes())
    assert open_coco_folder(data).root.name == "val2017", "the other split's pictures are not there"
    (data / "train2017").mkdir()
    with pytest.raises(UsageError, match=r"2 files of annotations; name one of them: --data .*instances_val2017\.json"):
        open_coco_folder(data)
    assert open_coco_folder(other).root.name == "train2017"


def test_what_is_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such folder; expected annotations\.json beside the folder images"):
        open_coco_folder(tmp_path / "none")
    with pytest.raises(UsageError, match="no annotations with their pictures"):
        open_coco_folder(tmp_path)
    (tmp_path / "annotations.json").write_text(json.dumps(coco_document(1, seed=0)))
    with pytest.raises(UsageError, match="no folder of its pictures"):
        open_coco_folder(tmp_path)


def put(part: str, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document[part][0].__setitem__(key, value)


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no pictures": (lambda document: document["images"].clear(), "no picture in it"),
    "no part": (lambda document: document.pop("categories"), "not COCO's annotations"),
    "a wrong type": (put("annotations", "bbox", "wide"), "not COCO's annotations"),
    "three numbers": (put("annotations", "bbox", [1, 2, 3]), "not COCO's annotations"),
    "a number twice": (put("images", "id", 22), "two picture entries have the number 22"),
    "a category twice": (put("categories", "id", 7), "two category entries have the number 7"),
    "a name twice": (put("categories", "name", "disc"), "two categories are named 'disc'"),
    "category 0": (put("categories", "id", 0), "a category with a number below 1"),
    "climbs out": (put("images", "file_name", "../../secret.png"), "lies outside of the folder"),
    "absolute": (put("images", "file_name", "/etc/passwd"), "lies outside of the folder"),
    "no size": (put("images", "width", 0), "has the size 0 x"),
    "an unknown picture": (put("annotations", "image_id", 5), "which are not both in it"),
    "an unknown category": (put("annotations", "category_id", 5), "which are not both in it"),
    "negative": (put("annotations", "bbox", [1, 1, -1, 4]), "negative width, height or area"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_annotations_from_outside_are_checked(fault: str, tmp_path: Path) -> None:
    document = coco_document(3, seed=1)
    write_coco(tmp_path / "data", document)
    broken = copy.deepcopy(document)
    spoil, message = FAULTS[fault]
    spoil(broken)
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(broken))
    with pytest.raises(UsageError, match=message):
        open_coco_folder(tmp_path / "data")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"images": NaN}', "\xff"])
def test_what_is_no_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="not COCO's annotations"):
        open_coco_folder(tmp_path)


def test_classes_are_found_by_name_and_else_by_order() -> None:
    assert classes_of(CATEGORIES, ("bar", "none", "square", "disc"), 4, "x") == (12, 0, 3, 7)
    assert classes_of(CATEGORIES, None, 3, "x") == (3, 7, 12)
    with pytest.raises(UsageError, match=r"3 categories and the network 4 classes without names; .*--labels FILE"):
        classes_of(CATEGORIES, None, 4, "x")
    with pytest.raises(UsageError, match="no class of the network is called 'disc'"):
        classes_of(CATEGORIES, ("bar", "square"), 2, "x")
    with pytest.raises(UsageError, match="two classes are named 'bar'"):
        classes_of(CATEGORIES, ("bar", "bar"), 2, "x")
