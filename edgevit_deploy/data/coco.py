"""Pictures with boxes in COCO's layout: one JSON file of annotations, and the folder of its pictures.

    DIR/annotations.json                     DIR/images/0001.jpg
    DIR/annotations/instances_val2017.json   DIR/val2017/0001.jpg      as COCO itself is laid out

Of the JSON, `images` (id, file_name, width, height), `annotations` (image_id, category_id, bbox as left, top, width, height, and
where they are there area and iscrowd) and `categories` (id, name) are read; everything else in it is passed over.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from edgevit_deploy.errors import UsageError, first_line
from edgevit_deploy.outside.files import is_folder, is_regular, read_bounded
from edgevit_deploy.spec import MAX_CLASSES, Size

MAX_ANNOTATION_BYTES = 2**30
"""COCO's own training annotations are 470 MB."""

ANNOTATIONS, PICTURES = "annotations", "images"
SPLIT = "instances_"
"""How COCO's files of boxes begin; the folder of their pictures is called after what follows."""

LAYOUT = f"expected {ANNOTATIONS}.json beside the folder {PICTURES}, or {ANNOTATIONS}/{SPLIT}NAME.json beside the folder NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture: its number in the JSON, its file relative to the folder, and its (height, width) in pixels, upright."""

    id: int
    file: str
    size: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One box: left, top, width and height in pixels; a crowd's stands for any number of objects."""

    picture: int
    category: int
    box: tuple[float, float, float, float]
    area: float
    crowd: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoFolder:
    """Pictures with boxes.

    Attributes:
        root: the folder of the pictures.
        source: the file of annotations.
        pictures: in the order of their numbers.
        annotations: in the file's order.
        categories: number -> name, in the order of the numbers.
    """

    root: Path
    source: Path
    pictures: tuple[Picture, ...]
    annotations: tuple[Annotation, ...]
    categories: dict[int, str]

    def path(self, index: int) -> Path:
        """Return where a picture lies."""
        return self.root / self.pictures[index].file


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int
    height: int


class _Box(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | bool = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _Document(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Box]
    categories: list[_Category]


def open_coco_folder(data: Path, *, flag: str = "--data") -> CocoFolder:
    """Read a folder in COCO's layout; of the pictures only the names are read.

    Args:
        data: the folder, or the JSON file in it.
        flag: with which the user named it, for errors.

    Raises:
        UsageError: neither layout, several files of annotations, or annotations that are not COCO's.
    """
    source = _source(data, flag)
    try:
        document = msgspec.json.decode(read_bounded(source, MAX_ANNOTATION_BYTES), type=_Document)
    except OSError as error:
        raise UsageError(f"{flag} {source}: cannot be read ({error.strerror}); give COCO's JSON") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UsageError(f"{flag} {source}: not COCO's annotations ({first_line(error)}); {LAYOUT}") from error
    if objection := next(_objections(document), None):
        raise UsageError(f"{flag} {source}: {objection}; correct the file")
    pictures = [Picture(id=each.id, file=each.file_name, size=(each.height, each.width)) for each in document.images]
    return CocoFolder(
        root=_pictures_of(source, flag),
        source=source,
        pictures=tuple(sorted(pictures, key=lambda picture: picture.id)),
        annotations=tuple(_annotation(each) for each in document.annotations),
        categories={each.id: each.name for each in sorted(document.categories, key=lambda category: category.id)},
    )


def classes_of(categories: dict[int, str], labels: Sequence[str] | None, count: int, where: str) -> tuple[int, ...]:
    """Return the category of each class of a network, in class order; 0 where it has none, which no category has.

    Args:
        categories: number -> name.
        labels: names in class order; None where the network does not know them.
        count: of its classes.
        where: what errors call the annotations.

    Raises:
        UsageError: a category is no class, two classes have one name, or without names the counts differ.
    """
    if labels is None:
        if count != len(categories):
            raise UsageError(
                f"{where} has {len(categories)} categories and the network {count} classes without names; "
                "give their names in class order with --labels FILE"
            )
        return tuple(categories)
    if twice := [name for name, times in Counter(labels).items() if times > 1]:
        raise UsageError(f"two classes are named {twice[0]!r}; give a name of its own to each with --labels FILE")
    places = {name: number for number, name in categories.items()}
    if unknown := [name for name in places if name not in labels]:
        raise UsageError(
            f"{where}: no class of the network is called {unknown[0]!r}; give the names of the classes with --labels FILE"
        )
    return tuple(places.get(name, NO_CATEGORY) for name in labels)


NO_CATEGORY = 0
"""Of a class that the annotations do not have; COCO counts from 1."""


def _source(data: Path, flag: str) -> Path:
    if is_regular(data):
        return data
    if not is_folder(data):
        raise UsageError(f"{flag} {data}: no such folder; {LAYOUT}")
    plain = data / f"{ANNOTATIONS}.json"
    if is_regular(plain):
        return plain
    splits = sorted(data.joinpath(ANNOTATIONS).glob(f"{SPLIT}*.json"))
    there = [each for each in splits if is_folder(_named_after(each))]
    if not there:
        raise UsageError(f"{flag} {data}: no annotations with their pictures; {LAYOUT}")
    if len(there) > 1:
        raise UsageError(f"{flag} {data}: {len(there)} files of annotations; name one of them: {flag} {there[-1]}")
    return there[0]


def _named_after(source: Path) -> Path:
    return source.parent.parent / source.stem.removeprefix(SPLIT)


def _pictures_of(source: Path, flag: str) -> Path:
    """Return the folder of the pictures of a file of annotations."""
    beside = source.parent / PICTURES
    root = beside if is_folder(beside) else _named_after(source)
    if not is_folder(root):
        raise UsageError(f"{flag} {source}: no folder of its pictures; {LAYOUT}")
    return root


def _annotation(box: _Box) -> Annotation:
    area = box.bbox[2] * box.bbox[3] if box.area is None else box.area
    return Annotation(picture=box.image_id, category=box.category_id, box=box.bbox, area=area, crowd=bool(box.iscrowd))


def _objections(document: _Document) -> Iterator[str]:
    """Yield what is wrong with annotations whose fields have the right types."""
    images, categories = ([each.id for each in part] for part in (document.images, document.categories))
    for what, numbers in (("picture", images), ("category", categories)):
        if not numbers:
            yield f"no {what} in it"
        if twice := [number for number, times in Counter(numbers).items() if times > 1]:
            yield f"two {what} entries have the number {twice[0]}"
    if len(categories) > MAX_CLASSES or min(categories, default=1) < 1:
        yield "a category with a number below 1, or too many"
    if twice_named := [name for name, times in Counter(each.name for each in document.categories).items() if times > 1]:
        yield f"two categories are named {twice_named[0]!r}"
    for image in document.images:
        parts = PurePosixPath(image.file_name).parts
        if not parts or image.file_name.startswith("/") or ".." in parts or "\0" in image.file_name or "\\" in image.file_name:
            yield f"the picture {image.file_name!r} lies outside of the folder"
        if min(image.width, image.height) < 1:
            yield f"the picture {image.file_name!r} has the size {image.width} x {image.height}"
    known_images, known_categories = set(images), set(categories)
    for box in document.annotations:
        if box.image_id not in known_images or box.category_id not in known_categories:
            yield f"a box of picture {box.image_id} and category {box.category_id}, which are not both in it"
        if min(box.bbox[2:]) < 0 or (box.area is not None and box.area < 0):
            yield f"a box of picture {box.image_id} with a negative width, height or area"
