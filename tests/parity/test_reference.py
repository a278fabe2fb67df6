"""The yardsticks: truth in float64, noise of float32, and an emulation of 16-bit storage that really rounds."""

import numpy as np
import pytest
import torch
from torch import nn

from edgevit_deploy import create_model
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.parity.bounds import NOISE_CEILING, tolerance_for
from edgevit_deploy.parity.probes import make_probes
from edgevit_deploy.parity.reference import Reference, RoundEveryOutput
from edgevit_deploy.spec import imagenet_preprocess
from tests.helpers.bounds import bound_of
from tests.helpers.small import ends


def model_and_probes(form: str = "tensor"):
    model = create_model("edgevit_xxs", image_size=64)
    randomise(model, seed=0)
    return model, make_probes((64, 64), model.spec.preprocess, form, seed=0)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_every_operation_is_rounded(stored: torch.dtype) -> None:
    x = torch.linspace(0.1, 3, 50)
    with RoundEveryOutput(stored):
        y = (x * 1.1).exp()
    by_hand = (x * 1.1).to(stored).float().exp().to(stored).float()
    assert torch.equal(y, by_hand)
    assert not torch.equal(y, (x * 1.1).exp())


def test_noise_is_the_largest_error_over_all_probes() -> None:
    model, probes = model_and_probes()
    truth = Reference(model, model.spec.preprocess).truth(probes, ends("tensor", "logits"), "fp32")
    with torch.no_grad():
        exact = prepare(model, model.spec.preprocess, "tensor", "logits", torch.float64)(torch.from_numpy(probes.inputs).double())
        own = torch.cat([model(torch.from_numpy(image[None])) for image in probes.inputs])
    np.testing.assert_allclose(truth.outputs["logits"], exact.numpy(), atol=1e-12)
    np.testing.assert_allclose(truth.noise["logits"], float((own.double() - exact).abs().max()), rtol=1e-6)


def test_fp16_noise_is_far_above_fp32_noise_and_below_its_ceiling() -> None:
    model, probes = model_and_probes()
    reference = Reference(model, model.spec.preprocess)
    single = reference.truth(probes, ends("tensor", "logits"), "fp32")
    half = reference.truth(probes, ends("tensor", "logits"), "fp16")
    scale = np.abs(half.outputs["logits"]).max()
    assert 100 * single.noise["logits"] < half.noise["logits"] < NOISE_CEILING["fp16"] * scale
    assert single.noise["logits"] < NOISE_CEILING["fp32"] * scale


def test_bf16_noise_is_about_eight_times_fp16_noise() -> None:
    """Three significant bits less."""
    model, probes = model_and_probes()
    reference = Reference(model, model.spec.preprocess)
    half = reference.truth(probes, ends("tensor", "logits"), "fp16")
    brain = reference.truth(probes, ends("tensor", "logits"), "bf16")
    assert 4 * half.noise["logits"] < brain.noise["logits"] < 16 * half.noise["logits"]
    assert brain.noise["logits"] < NOISE_CEILING["bf16"] * np.abs(brain.outputs["logits"]).max()


def test_the_image_form_is_the_tensor_form_behind_its_normalisation() -> None:
    model, images = model_and_probes("image")
    preprocess = model.spec.preprocess
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in (preprocess.mean, preprocess.std))
    normalised = torch.from_numpy((images.inputs.astype(np.float64) / 255 - mean) / std)
    inside = prepare(model, preprocess, "image", "logits", torch.float64)(torch.from_numpy(images.inputs).double())
    outside = prepare(model, preprocess, "tensor", "logits", torch.float64)(normalised)
    np.testing.assert_allclose(inside.numpy(), outside.numpy(), atol=1e-12)


def test_probabilities_sum_to_one() -> None:
    model, probes = model_and_probes()
    truth = Reference(model, model.spec.preprocess).truth(probes, ends("tensor", "probabilities"), "fp32")
    np.testing.assert_allclose(truth.outputs["probabilities"].sum(axis=1), 1, atol=1e-12)


class Overflowing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.mean((2, 3)) * 1e5 + 1e6) * 1e-5


def test_an_fp16_overflow_does_not_buy_an_infinite_bound() -> None:
    probes = make_probes((32, 32), imagenet_preprocess((32, 32)), "tensor", seed=0)
    truth = Reference(Overflowing(), imagenet_preprocess((32, 32))).truth(probes, ends("tensor", "logits"), "fp16")
    assert not np.isfinite(truth.noise["logits"])
    scale = float(np.abs(truth.outputs["logits"]).max())
    bound = tolerance_for(bound_of("onnx", "fp16"), "fp16", truth.noise["logits"], scale)
    assert bound.atol <= bound.k * NOISE_CEILING["fp16"] * scale
    assert "not the yardstick" in bound.reason


def test_bf16_has_the_range_of_float32() -> None:
    probes = make_probes((32, 32), imagenet_preprocess((32, 32)), "tensor", seed=0)
    truth = Reference(Overflowing(), imagenet_preprocess((32, 32))).truth(probes, ends("tensor", "logits"), "bf16")
    assert np.isfinite(truth.noise["logits"])
