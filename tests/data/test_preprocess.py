"""Decoding, resize, crop and normalisation against independent arithmetic and against torchvision's documented rules."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit_deploy.data.preprocess import find_images, normalise, read_inputs, read_pixels
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import Preprocess, imagenet_preprocess


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def gradient() -> np.ndarray:
    rows, columns = np.indices((300, 400))
    return np.stack([rows * 255 // 299, columns * 255 // 399, (rows + columns) % 256], axis=-1).astype(np.uint8)


def test_shorter_side_then_centre_crop(tmp_path: Path, gradient: np.ndarray) -> None:
    path = save(tmp_path / "a.png", gradient)
    # The published evaluation: shorter side 256 (300x400 -> 256x341), then the middle 224x224.
    resized = np.asarray(Image.fromarray(gradient).resize((341, 256), Image.Resampling.BICUBIC))
    expected = resized[16 : 16 + 224, 58 : 58 + 224]  # (256 - 224) / 2 = 16; (341 - 224) / 2 = 58.5, rounded to even
    np.testing.assert_array_equal(read_pixels(path, imagenet_preprocess((224, 224))), expected)


def test_a_rectangular_crop_is_covered(tmp_path: Path, gradient: np.ndarray) -> None:
    pixels = read_pixels(save(tmp_path / "a.png", gradient), imagenet_preprocess((96, 384)))
    assert pixels.shape == (96, 384, 3)
    assert pixels[:, 0, 1].max() < pixels[:, -1, 1].min()


def test_stretch_keeps_every_edge(tmp_path: Path, gradient: np.ndarray) -> None:
    preprocess = Preprocess(resize=(64, 64), crop=(64, 64), fit="stretch", interpolation="bilinear")
    pixels = read_pixels(save(tmp_path / "a.png", gradient), preprocess)
    expected = np.asarray(Image.fromarray(gradient).resize((64, 64), Image.Resampling.BILINEAR))
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


def test_exif_orientation_is_applied(tmp_path: Path, gradient: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90 degrees clockwise to show
    sideways = save(tmp_path / "exif.png", gradient, exif=exif)
    upright = save(tmp_path / "upright.png", np.rot90(gradient, k=-1).copy())
    preprocess = imagenet_preprocess((64, 64))
    np.testing.assert_array_equal(read_pixels(sideways, preprocess), read_pixels(upright, preprocess))


def test_grey_and_alpha_become_rgb(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.png", np.full((80, 80), 100, dtype=np.uint8))
    alpha = save(tmp_path / "alpha.png", np.full((80, 80, 4), 100, dtype=np.uint8))
    assert read_inputs([grey, alpha], imagenet_preprocess((32, 32)), "image").shape == (2, 3, 32, 32)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_broken_pictures_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"broken.png: cannot be read as a picture"):
        read_pixels(path, imagenet_preprocess((32, 32)))


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "bomb.png", np.zeros((100, 100, 3), dtype=np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UsageError, match="cannot be read as a picture"):
        read_pixels(path, imagenet_preprocess((32, 32)))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(UsageError, match="no picture in it"):
        find_images(tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        find_images(tmp_path / "notes.txt")
