"""Pictures with masks: listed by name, read as whole numbers, and put where the preprocessing puts the picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgevit_deploy.data.masks import open_mask_folder, read_mask
from edgevit_deploy.data.preprocess import read_pixels
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import Preprocess
from tests.helpers.shapes import save_mask, write_shapes

LETTERBOX = Preprocess(resize=(64, 96), crop=(64, 96), fit="letterbox")
COVER = Preprocess(resize=(40, 40), crop=(32, 32), fit="cover")


def pair(folder: Path, mask: np.ndarray) -> tuple[Path, Path]:
    """A picture whose grey is 60 times the class of its mask, so that its own resizing shows where the mask has to be."""
    Image.fromarray(np.repeat(60 * mask[..., None], 3, axis=2).astype(np.uint8)).save(folder / "picture.png")
    save_mask(folder / "mask.png", mask)
    return folder / "mask.png", folder / "picture.png"


@pytest.mark.parametrize("preprocess", [LETTERBOX, COVER, Preprocess(resize=(32, 64), crop=(32, 64), fit="stretch")])
@pytest.mark.parametrize("shape", [(48, 30), (30, 51), (64, 96)])
def test_a_mask_lies_where_its_picture_lies(preprocess: Preprocess, shape: tuple[int, int], tmp_path: Path) -> None:
    mask = np.zeros(shape, np.uint8)
    mask[shape[0] // 4 : shape[0] // 2, shape[1] // 3 :] = 1
    mask[shape[0] // 2 :, : shape[1] // 2] = 3
    placed = read_mask(*pair(tmp_path, mask), preprocess, classes=4)
    pixels = read_pixels(tmp_path / "picture.png", preprocess)[..., 0].astype(int)
    assert placed.shape == preprocess.crop
    covered = placed != 255
    near = np.abs(pixels - 60 * placed.astype(int)) < 30
    assert near[covered].mean() > 0.9, "they differ at edges alone, where the picture is mixed and the mask is not"
    if preprocess.fit != "letterbox":
        assert covered.all()
    else:
        assert set(np.unique(pixels[~covered])) <= {124}, "what is filled has no class"
    shifted = np.roll(placed.astype(int), 3, axis=1)
    assert (np.abs(pixels - 60 * shifted) < 30)[covered].mean() < near[covered].mean(), "a mask that is off is seen"


def test_a_folder_is_listed_by_name(tmp_path: Path) -> None:
    folder = open_mask_folder(write_shapes(tmp_path / "data", 3))
    assert folder.images == ("images/0000.png", "images/0001.png", "images/0002.png")
    assert folder.masks[2] == "masks/0002.png"
    (tmp_path / "data/masks/alone.png").write_bytes(b"")
    (tmp_path / "data/images/.hidden").write_bytes(b"")
    folder = open_mask_folder(tmp_path / "data")
    assert {item.why for item in folder.passed_over} == {"hidden", "no picture in images"}
    before = folder.digest()
    save_mask(tmp_path / "data/masks/0001.png", np.ones((64, 63), np.uint8))
    assert folder.digest() != before
    assert folder.sample(2, seed=1).tolist() == folder.sample(2, seed=1).tolist()


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder 'images' in it; expected images/NAME"):
        open_mask_folder(tmp_path)
    data = write_shapes(tmp_path / "data", 2)
    (data / "masks/0001.png").unlink()
    with pytest.raises(UsageError, match=r"images/0001\.png has no masks/0001\.png"):
        open_mask_folder(data)
    (data / "images/0000.jpg").write_bytes((data / "images/0000.png").read_bytes())
    with pytest.raises(UsageError, match=r"images/0000\.jpg and images/0000\.png have one name"):
        open_mask_folder(data)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: save_mask(path, np.full((20, 20), 7)), "it has the class 7, and there are 4, numbered from 0; 255 is for"),
        (lambda path: save_mask(path, np.zeros((20, 21))), "20 x 21 pixels, and its picture has 20 x 20; make them of one size"),
        (lambda path: Image.new("RGB", (20, 20)).save(path), "a mask is a PNG, indexed or grey with 8 bits, and this is PNG RGB"),
        (lambda path: Image.new("L", (20, 20)).save(path, "JPEG"), "and this is JPEG L"),
        (lambda path: path.write_bytes(b"no picture"), "cannot be read as a mask"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "cannot be read as a mask"),
    ],
)
def test_a_mask_that_is_none_is_refused(write: Any, said: str, tmp_path: Path) -> None:
    mask, picture = pair(tmp_path, np.zeros((20, 20), np.uint8))
    write(mask)
    with pytest.raises(UsageError) as caught:
        read_mask(mask, picture, LETTERBOX, classes=4)
    assert said in str(caught.value)
