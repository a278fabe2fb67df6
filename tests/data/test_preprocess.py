"""Decoding, resize, crop and normalisation against independent arithmetic and against torchvision's documented rules."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit_deploy.data.preprocess import normalise, read_pixels
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import Preprocess, imagenet_preprocess
from tests.helpers.pictures import gradient, save


def test_shorter_side_then_centre_crop(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", gradient())
    # The published evaluation: shorter side 256 (300x400 -> 256x341), then the middle 224x224.
    resized = np.asarray(Image.fromarray(gradient()).resize((341, 256), Image.Resampling.BICUBIC))
    expected = resized[16 : 16 + 224, 58 : 58 + 224]  # (256 - 224) / 2 = 16; (341 - 224) / 2 = 58.5, rounded to even
    np.testing.assert_array_equal(read_pixels(path, imagenet_preprocess((224, 224))), expected)


def test_a_rectangular_crop_is_covered(tmp_path: Path) -> None:
    pixels = read_pixels(save(tmp_path / "a.png", gradient()), imagenet_preprocess((96, 384)))
    assert pixels.shape == (96, 384, 3)
    assert pixels[:, 0, 1].max() < pixels[:, -1, 1].min()


def test_stretch_keeps_every_edge(tmp_path: Path) -> None:
    preprocess = Preprocess(resize=(64, 64), crop=(64, 64), fit="stretch", interpolation="bilinear")
    pixels = read_pixels(save(tmp_path / "a.png", gradient()), preprocess)
    expected = np.asarray(Image.fromarray(gradient()).resize((64, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(pixels, expected)


def test_normalisation_is_the_formula() -> None:
    pixels = np.array([[[[255, 0, 128]]]], dtype=np.uint8)
    out = normalise(pixels, imagenet_preprocess((224, 224)), "tensor")
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (128 / 255 - 0.406) / 0.225]
    np.testing.assert_allclose(out[0, :, 0, 0], expected, rtol=1e-6)
    assert out.dtype == np.float32


def test_image_form_keeps_0_to_255() -> None:
    pixels = np.arange(27, dtype=np.uint8).reshape(1, 3, 3, 3)
    np.testing.assert_array_equal(normalise(pixels, imagenet_preprocess((224, 224)), "image")[0, 0], pixels[0, :, :, 0])


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90 degrees clockwise to show
    sideways = save(tmp_path / "exif.png", gradient(), exif=exif)
    upright = save(tmp_path / "upright.png", np.rot90(gradient(), k=-1).copy())
    preprocess = imagenet_preprocess((64, 64))
    np.testing.assert_array_equal(read_pixels(sideways, preprocess), read_pixels(upright, preprocess))


def test_grey_and_alpha_become_rgb(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.png", np.full((80, 80), 100, dtype=np.uint8))
    alpha = save(tmp_path / "alpha.png", np.full((80, 80, 4), 100, dtype=np.uint8))
    for path in (grey, alpha):
        assert read_pixels(path, imagenet_preprocess((32, 32))).shape == (32, 32, 3)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_broken_pictures_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"broken.png: cannot be read as a picture"):
        read_pixels(path, imagenet_preprocess((32, 32)))


def whole_then_cropped(pixels: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """The rule in its plain form: resize all of the picture, then cut the middle out, black where there is nothing."""
    picture = Image.fromarray(pixels)
    height, width = preprocess.resize
    if preprocess.fit == "cover":
        scale = max(Fraction(height, picture.height), Fraction(width, picture.width))
        height, width = int(scale * picture.height), int(scale * picture.width)
    resample = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[preprocess.interpolation]
    resized = picture.resize((width, height), resample)
    top, left = round((height - preprocess.crop[0]) / 2), round((width - preprocess.crop[1]) / 2)
    return np.asarray(resized.crop((left, top, left + preprocess.crop[1], top + preprocess.crop[0])))


def some_preprocess(rng: np.random.Generator, largest: int) -> Preprocess:
    resize, crop = ((int(side[0]), int(side[1])) for side in rng.integers(1, largest, (2, 2)))
    return Preprocess(
        resize=resize,
        crop=crop,
        fit="cover" if rng.integers(2) else "stretch",
        interpolation="bicubic" if rng.integers(2) else "bilinear",
    )


def some_pixels(rng: np.random.Generator) -> np.ndarray:
    height, width = (int(side) for side in np.exp(rng.uniform(0, np.log(400), 2)))
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_every_size_is_resized_whole_and_then_cropped(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(1000):
        pixels, preprocess = some_pixels(rng), some_preprocess(rng, 200)
        path = save(tmp_path / "a.bmp", pixels)
        np.testing.assert_array_equal(read_pixels(path, preprocess), whole_then_cropped(pixels, preprocess))


def test_a_region_alone_is_nearly_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow takes its two passes in an order that depends on the size, and rounds to 8 bits after each."""
    monkeypatch.setattr("edgevit_deploy.data.preprocess.WHOLE_PIXELS", 0)
    rng = np.random.default_rng(0)
    largest, shifted = [], []
    for _ in range(300):
        pixels, preprocess = gradient(*(int(side) for side in rng.integers(20, 400, 2))), some_preprocess(rng, 200)
        pixels[..., 2] = 0  # smooth, or a rounding would be as large as the picture's own steps
        region = read_pixels(save(tmp_path / "a.bmp", pixels), preprocess).astype(int)
        largest.append(np.abs(region - whole_then_cropped(pixels, preprocess)).max())
        shifted.append(np.abs(region - np.roll(whole_then_cropped(pixels, preprocess), 3, axis=(0, 1))).max())
    assert max(largest) <= 2
    assert np.median(shifted) > 2, "the control: three pixels beside it"


@pytest.mark.parametrize(("height", "width"), [(1, 60_000), (60_000, 1), (2, 131_072)])
def test_a_strip_costs_no_more_than_what_is_kept_of_it(tmp_path: Path, height: int, width: int) -> None:
    """The middle of a picture of two colours; resized whole, it would be 256 x 15 million pixels."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    along = pixels if width > height else pixels.swapaxes(0, 1)
    along[:, : max(height, width) // 2, 0] = 200
    along[:, max(height, width) // 2 :, 2] = 100
    read = read_pixels(save(tmp_path / "a.png", pixels), imagenet_preprocess((224, 224)))
    read = read if width > height else read.swapaxes(0, 1)
    ends = np.stack([read[0, 0], read[0, -1]]).astype(int)
    assert np.abs(ends - [[200, 0, 0], [0, 0, 100]]).max() <= 16, "but for what the filter overshoots at the edge"
    assert np.all(read == read[:1])


@pytest.mark.parametrize("fit", ["cover", "stretch"])
def test_an_absurd_resize_is_not_allocated(tmp_path: Path, fit: str) -> None:
    preprocess = Preprocess(resize=(65_536, 65_536), crop=(64, 64), fit=fit)
    read = read_pixels(save(tmp_path / "a.png", gradient()), preprocess)
    assert np.abs(read.astype(int) - gradient()[150, 200]).max() <= 2, "all of it is the middle"


@pytest.mark.parametrize(
    "sizes", [{"crop": (65_536, 65_536)}, {"crop": (32, 4_097)}, {"crop": (0, 32)}, {"resize": (0, 32)}, {"resize": (32, -1)}]
)
def test_sizes_that_no_input_has_are_refused(tmp_path: Path, sizes: dict[str, tuple[int, int]]) -> None:
    preprocess = Preprocess(**{"resize": (64, 64), "crop": (32, 32), **sizes})
    with pytest.raises(UsageError, match=r"crops to .* pixels; expected a crop of at most 4096 a side; convert again"):
        read_pixels(save(tmp_path / "a.png", gradient()), preprocess)
