"""Letterboxed and padded pictures: all of each is shown, in its shape, and nothing else but the colour around it."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgevit_deploy.data.preprocess import normalise, read_pixels, resized_size
from edgevit_deploy.spec import PADDED, Preprocess
from tests.helpers.pictures import gradient, save

Pixels = NDArray[np.uint8]

sides = st.integers(1, 300)
boxes = st.tuples(st.integers(1, 6).map(lambda n: 32 * n), st.integers(1, 6).map(lambda n: 32 * n))
triples = st.tuples(*[st.floats(0, 1)] * 3)
paddings = st.builds(
    lambda box, fit, interpolation, mean: Preprocess(resize=box, crop=box, fit=fit, interpolation=interpolation, mean=mean),
    boxes,
    st.sampled_from(PADDED),
    st.sampled_from(["bicubic", "bilinear"]),
    triples,
)


def placed(pixels: Pixels, preprocess: Preprocess) -> tuple[Pixels, tuple[int, int]]:
    """The rule in its plain form, in fractions: the resized picture, and where its top left is."""
    (height, width), box = pixels.shape[:2], preprocess.crop
    scale = min(Fraction(box[0], height), Fraction(box[1], width))
    shown = max(1, int(scale * height)), max(1, int(scale * width))
    resample = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[preprocess.interpolation]
    resized = np.asarray(Image.fromarray(pixels).resize((shown[1], shown[0]), resample))
    top, left = ((box[0] - shown[0]) // 2, (box[1] - shown[1]) // 2) if preprocess.fit == "letterbox" else (0, 0)
    return resized, (top, left)


def read(pixels: Pixels, preprocess: Preprocess, folder: Path) -> Pixels:
    return read_pixels(save(folder / "a.bmp", pixels), preprocess)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@settings(max_examples=200, deadline=None)
@given(height=sides, width=sides, preprocess=paddings, seed=st.integers(0, 99))
def test_the_picture_is_where_it_belongs_and_the_colour_around_it(
    height: int, width: int, preprocess: Preprocess, seed: int, folder: Path
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = read(pixels, preprocess, folder)
    resized, (top, left) = placed(pixels, preprocess)
    assert image.shape == (*preprocess.crop, 3)
    assert resized_size((height, width), preprocess) == resized.shape[:2]
    assert preprocess.crop[0] == resized.shape[0] or preprocess.crop[1] == resized.shape[1]
    around = np.ones(preprocess.crop, dtype=bool)
    around[top : top + resized.shape[0], left : left + resized.shape[1]] = False
    np.testing.assert_array_equal(image[~around].reshape(resized.shape), resized)
    if around.any():
        assert len(np.unique(image[around], axis=0)) == 1
        # The colour is a whole one, so at most half of one off the mean.
        off = normalise(image[None], preprocess, "tensor")[0][:, around] * np.array(preprocess.std)[:, None]
        assert np.abs(off).max() <= 0.5 / 255 + 1e-6


@settings(max_examples=100, deadline=None)
@given(times=st.integers(1, 5), preprocess=paddings)
def test_a_picture_of_the_boxs_shape_is_only_resized(times: int, preprocess: Preprocess, folder: Path) -> None:
    pixels = gradient(preprocess.crop[0] // 32 * times, preprocess.crop[1] // 32 * times)
    stretched = Preprocess(
        resize=preprocess.crop, crop=preprocess.crop, fit="stretch", interpolation=preprocess.interpolation, mean=preprocess.mean
    )
    np.testing.assert_array_equal(read(pixels, preprocess, folder), read(pixels, stretched, folder))
    longer = gradient(pixels.shape[0], pixels.shape[1] + 3)
    assert not np.array_equal(read(longer, preprocess, folder), read(longer, stretched, folder)), "the control"


def test_the_two_differ_by_the_place_alone(folder: Path) -> None:
    boxed, padded = (Preprocess(resize=(64, 64), crop=(64, 64), fit=fit) for fit in PADDED)
    pixels = gradient(100, 49)  # 64 x 31: an odd number of columns is left over
    letterbox, pad = read(pixels, boxed, folder), read(pixels, padded, folder)
    np.testing.assert_array_equal(letterbox[:, 16:47], pad[:, :31])
    assert not np.array_equal(letterbox[:, 17:48], pad[:, :31]), "the control: one pixel beside it"
    assert (letterbox[:, :16] == (124, 116, 104)).all()  # ImageNet's mean: 123.675, 116.28, 103.53
    assert (pad[:, 31:] == (124, 116, 104)).all()


def test_the_colour_follows_the_value_range() -> None:
    symmetric = Preprocess(resize=(32, 32), crop=(32, 32), fit="pad", value_range=(-1.0, 1.0), mean=(-1.0, 0.0, 0.5))
    assert symmetric.padding() == (0, 128, 191)  # 0, 127.5 and 191.25
    beyond = Preprocess(resize=(32, 32), crop=(32, 32), fit="pad", mean=(-0.2, 0.5, 1.0))
    assert beyond.padding() == (0, 128, 255)


@pytest.mark.parametrize(("height", "width"), [(1, 60_000), (60_000, 1)])
@pytest.mark.parametrize("fit", PADDED)
def test_a_strip_is_one_pixel_of_its_short_side(height: int, width: int, fit: str, folder: Path) -> None:
    image = read(np.full((height, width, 3), 9, dtype=np.uint8), Preprocess(resize=(64, 32), crop=(64, 32), fit=fit), folder)
    assert (image == 9).all(axis=2).sum() == (32 if width > height else 64)
