"""The recipe's numbers are DeiT's, and what cannot be trained is refused in one line."""

import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from edgevit_deploy import create_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import imagenet_preprocess
from edgevit_deploy.train.augment import make_transform
from edgevit_deploy.train.network import make_optimizer
from edgevit_deploy.train.order import Order
from edgevit_deploy.train.presets import PRESETS, preset
from edgevit_deploy.train.recipe import PARTS, RANGES, Recipe, changed, differences, flag
from edgevit_deploy.train.schedule import Schedule

PUBLISHED = {
    "epochs": 300,
    "batch_size": 1024,
    "learning_rate": 5e-4,
    "warmup_epochs": 5,
    "warmup_learning_rate": 1e-6,
    "min_learning_rate": 1e-5,
    "weight_decay": 0.05,
    "beta1": 0.9,
    "beta2": 0.999,
    "clip_norm": 0,
    "label_smoothing": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "auto_augment": "rand-m9-mstd0.5-inc1",
    "erasing": 0.25,
    "erasing_mode": "pixel",
    "repeats": 3,
    "drop_path": 0.1,
    "ema_decay": 0.99996,
}
"""saic-fi/edgevit src/main.py, which is DeiT's; its command line trains with 1024 pictures an update."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_recipe(name: str) -> None:
    assert getattr(preset("deit"), name) == PUBLISHED[name]


def rates(recipe: Recipe, updates: int, updates_per_epoch: int, at: int) -> float:
    optimizer = make_optimizer(create_model("edgevit_xxs", num_classes=10), recipe)
    order = Order(pictures=updates_per_epoch * recipe.batch_size, recipe=recipe, parts=1)
    assert order.updates == updates
    Schedule(optimizer, recipe, order).step_update(at)
    (rate,) = {group["lr"] for group in optimizer.param_groups}
    return float(rate)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 1e-6),
        (2.5, (1e-6 + 1e-3) / 2),
        (5, 1e-5 + (1e-3 - 1e-5) * (1 + math.cos(math.pi * 5 / 300)) / 2),
        (150, (1e-3 + 1e-5) / 2),
        (300, 1e-5),
    ],
    ids=["begin", "in the warm-up", "after it", "middle", "end"],
)
def test_the_learning_rate_is_a_cosine_after_a_warm_up(epoch: float, expected: float) -> None:
    """5e-4 for 512 pictures is 1e-3 for 1024."""
    assert rates(preset("deit"), 3000, 10, round(10 * epoch)) == pytest.approx(expected, rel=1e-9)


def test_half_a_batch_has_half_the_learning_rate() -> None:
    recipe = changed(preset("deit"), {"batch_size": 512})
    assert rates(recipe, 3000, 10, 1500) == pytest.approx((5e-4 + 1e-5) / 2, rel=1e-9)


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        (1, 3e-4),  # the warm-up is over in the first
        (200, 1e-5 + (3e-4 - 1e-5) / 2),
        (399, 1e-5 + (3e-4 - 1e-5) * (1 + math.cos(math.pi * 399 / 400)) / 2),
        (400, 1e-6),
        (405, (1e-6 + 2e-4) / 2),
        (500, 1e-5 + (2e-4 - 1e-5) / 2),
        (600, 1e-5),
    ],
    ids=["begin", "middle", "end of the small", "again", "warm-up", "middle of the final", "end"],
)
def test_where_the_size_grows_a_second_cosine_begins(update: int, expected: float) -> None:
    words = {"epochs": 60.0, "small_epochs": 40.0, "batch_size": 512, "learning_rate": 3e-4, "restart_learning_rate": 2e-4}
    recipe = changed(preset("deit"), {**words, "warmup_epochs": 0.0})
    assert rates(recipe, 600, 10, update) == pytest.approx(expected, rel=1e-4)


def test_vectors_do_not_decay() -> None:
    network = create_model("edgevit_xxs", num_classes=10)
    groups = make_optimizer(network, preset("deit")).param_groups
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert {decays[id(parameter)] for parameter in network.parameters() if parameter.ndim > 1} == {0.05}
    assert {decays[id(parameter)] for parameter in network.parameters() if parameter.ndim <= 1} == {0.0}
    assert len(decays) == len(list(network.parameters()))


def test_adamw_has_the_recipes_numbers() -> None:
    optimizer = make_optimizer(create_model("edgevit_xxs", num_classes=10), changed(preset("small"), {"beta2": 0.97}))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.97)}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name: str) -> None:
    preset(name).check()


def test_a_preset_that_does_not_exist_names_the_closest() -> None:
    with pytest.raises(UsageError, match="--recipe smal: no such recipe; did you mean 'small'"):
        preset("smal")


@pytest.mark.parametrize("name", RANGES)
def test_every_number_has_bounds(name: str) -> None:
    low, high = RANGES[name]
    for value in (low - 1, high + 1, math.nan, math.inf):
        with pytest.raises(UsageError, match=f"^{flag(name)} .*: expected "):
            replace(Recipe(), **{name: value}).check()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"image_size": 100}, "--image-size 100: image height 100 is not a positive multiple of 32"),
        ({"auto_augment": "rand-m9-mst0.5"}, "--auto-augment rand-m9-mst0.5: timm has no such policy; give one like rand-m9-"),
        ({"auto_augment": "surprise"}, "--auto-augment surprise: timm has no such policy"),
        ({"small_image_size": 0}, "--small-image-size 0: "),
        ({"small_epochs": 301.0}, "--small-epochs 301: more than --epochs 300"),
        ({"warmup_epochs": 400.0}, "--warmup-epochs 400: more than --epochs 300"),
        ({"min_learning_rate": 0.01}, "--min-learning-rate 0.01: above the learning rate, which is 0.0005 x 1024 / 512 = 0.001"),
        (
            {"small_epochs": 1.0, "restart_learning_rate": 2e-6},
            "--min-learning-rate 1e-05: above the restart learning rate, which is 2e-06 x 1024 / 512 = 4e-06; lower it",
        ),
        ({"color_jitter": 0.4}, "--color-jitter 0.4: timm does not use it beside --auto-augment rand-m9-mstd0.5-inc1; drop one"),
        ({"color_jitter": 0.4, "auto_augment": "augmix-m3"}, "--color-jitter 0.4: timm does not use it beside --auto-augment au"),
        (
            {"small_image_size": 64},
            "--small-image-size 64: means nothing with --small-epochs 0; drop it, or raise --small-epochs",
        ),
        ({"restart_learning_rate": 1e-3}, "--restart-learning-rate 0.001: means nothing with --small-epochs 0; drop it"),
        ({"warmup_epochs": 0.0, "warmup_learning_rate": 1e-4}, "--warmup-learning-rate 0.0001: means nothing with --warmup-epo"),
        ({"erasing": 0.0, "erasing_mode": "const"}, "--erasing-mode const: means nothing with --erasing 0; drop it"),
        ({"amp": "fp8"}, "--amp fp8: expected fp32, fp16, bf16"),
        ({"erasing_mode": "rand"}, "--erasing-mode rand: expected const, pixel"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(choices: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        changed(Recipe(), choices).check()
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("whole", sorted(set(PARTS.values())))
def test_what_a_preset_says_may_be_switched_off(name: str, whole: str) -> None:
    """Only what somebody names is refused; of a preset's own numbers some mean nothing then."""
    changed(preset(name), {whole: 0.0}).check()


@pytest.mark.parametrize(("name", "whole"), PARTS.items())
def test_a_part_of_what_is_switched_on_is_taken(name: str, whole: str) -> None:
    recipe = changed(preset("small"), {whole: 0.2, name: getattr(preset("small"), name)})
    recipe.check()


@pytest.mark.parametrize(("policy", "jitters"), [("none", True), ("3a", True), ("v0", False), ("rand-m9", False)])
def test_the_policies_beside_which_colours_jitter_are_timms(policy: str, jitters: bool) -> None:
    """What is refused is what timm leaves out."""
    recipe = changed(Recipe(), {"auto_augment": policy, "color_jitter": 0.4})
    steps = make_transform(recipe, 32, imagenet_preprocess((32, 32))).transforms  # type: ignore[attr-defined]
    assert any(type(step).__name__ == "ColorJitter" for step in steps) == jitters
    with nullcontext() if jitters else pytest.raises(UsageError, match="--color-jitter"):
        recipe.check()


@pytest.mark.parametrize("policy", ["none", "v0", "original-mstd0.5", "3a", "rand-m9-n2-mstd0.5-inc1", "augmix-m3-w3"])
def test_policies_that_timm_reads_are_taken(policy: str) -> None:
    recipe = changed(Recipe(), {"auto_augment": policy})
    recipe.check()
    make_transform(recipe, 32, imagenet_preprocess((32, 32)))


def test_what_differs_between_two_recipes_is_named_as_flags() -> None:
    assert differences({"mixup": 0.8, "repeats": 3}, {"mixup": 0.2, "repeats": 3}) == ["--mixup was 0.8, is 0.2"]
