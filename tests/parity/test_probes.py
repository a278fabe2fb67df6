"""The probes: seeded, of every kind, and natural ones that look natural."""

import numpy as np
import pytest

from edgevit_deploy.parity.probes import GOLDEN_PROBES, make_probes, natural_picture
from edgevit_deploy.spec import INPUTS, InputKind, imagenet_preprocess

PREPROCESS = imagenet_preprocess((64, 96))


@pytest.mark.parametrize("form", ["tensor", "image", "uint8"])
def test_the_same_arguments_give_the_same_bytes(form: InputKind) -> None:
    one, two = (make_probes((64, 96), PREPROCESS, form, seed=3) for _ in range(2))
    assert one.names == two.names
    assert one.inputs.tobytes() == two.inputs.tobytes()
    assert one.inputs.shape == (len(one.names), 3, 64, 96)
    assert one.inputs.dtype == INPUTS[form].dtype
    assert one.inputs.tobytes() != make_probes((64, 96), PREPROCESS, form, seed=4).inputs.tobytes()


def test_noise_has_two_amplitudes() -> None:
    probes = make_probes((64, 96), PREPROCESS, "tensor", seed=0)
    spread = dict(zip(probes.names, probes.inputs.std(axis=(1, 2, 3)), strict=True))
    assert 0.95 < spread["noise"] < 1.05
    assert 0.0095 < spread["noise dim"] < 0.0105


def test_image_probes_are_whole_pixel_values() -> None:
    inputs = make_probes((64, 96), PREPROCESS, "image", seed=0).inputs
    assert inputs.min() == 0
    assert inputs.max() == 255
    np.testing.assert_array_equal(inputs, np.round(inputs))


def test_golden_data_hold_a_natural_picture_and_noise() -> None:
    assert make_probes((64, 96), PREPROCESS, "tensor", seed=0).names[:GOLDEN_PROBES] == ("natural", "noise")


def test_natural_pictures_have_a_1_over_f_spectrum() -> None:
    picture = natural_picture((256, 256), np.random.default_rng(0), contrast=0.1).mean(axis=2)
    amplitude = np.abs(np.fft.fft2(picture - picture.mean()))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256), indexing="ij"))
    band = (frequency > 4 / 256) & (frequency < 0.25)
    slope = np.polyfit(np.log(frequency[band]), np.log(amplitude[band] + 1e-9), 1)[0]
    assert -1.2 < slope < -0.8


def test_no_probe_is_symmetric_in_its_channels_except_the_flat_ones() -> None:
    probes = make_probes((64, 96), PREPROCESS, "image", seed=0)
    same = {name for name, image in zip(probes.names, probes.inputs, strict=True) if (image == image[::-1]).all()}
    assert same == {"black", "white", "grey"}
