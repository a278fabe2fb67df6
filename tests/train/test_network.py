"""What a training begins with: fresh weights as published, or those of any program's file; and rates by depth."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgevit_deploy import create_model, train_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.spec import PreprocessChoice
from edgevit_deploy.train.network import fresh_network, loaded_network, make_optimizer
from edgevit_deploy.train.presets import preset
from edgevit_deploy.train.recipe import changed
from tests.helpers.trained import LABELS, WEIGHTS
from tests.helpers.trainers import TRAINERS
from tests.helpers.training import QUICK, metadata

ErrorCheck = Callable[..., str]
CLASSES = tuple(sorted(LABELS))
AS_IT_IS = PreprocessChoice()


def test_fresh_weights_are_the_published_initialisation() -> None:
    """saic-fi/edgevit src/edgevit.py, _init_weights: linear weights are a cut normal of 0.02, biases and LayerNorms neutral."""
    network = fresh_network("edgevit_xxs", CLASSES, QUICK, AS_IT_IS).network
    assert network.head.out_features == len(CLASSES)
    linear = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    assert torch.cat([module.weight.flatten() for module in linear]).std().item() == pytest.approx(0.02, rel=0.02)
    assert all(not module.bias.any() for module in linear)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert all(bool((module.weight == 1).all()) and not module.bias.any() for module in norms)


def test_the_seed_decides_the_weights() -> None:
    one, same, other = (
        fresh_network("edgevit_xxs", CLASSES, changed(QUICK, {"seed": seed}), AS_IT_IS).network.head.weight for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", TRAINERS)
def test_every_trainers_file_is_begun_with(name: str, tmp_path: Path) -> None:
    from tests.helpers.checkpoints import foreign_code, seeded_state

    path = tmp_path / "weights.pth"
    with foreign_code() as define:
        torch.save(TRAINERS[name].content(seeded_state(), tmp_path / "sprung", define), path)
    begun = loaded_network(path, None, CLASSES, QUICK, AS_IT_IS).network.state_dict()
    for key, tensor in seeded_state().items():
        if key.startswith("head."):
            assert begun[key].shape[0] == len(CLASSES)
        else:
            assert torch.equal(begun[key], tensor)
    assert not (tmp_path / "sprung").exists()


def test_another_number_of_classes_makes_a_new_head(tmp_path: Path) -> None:
    network = create_model("edgevit_xxs", num_classes=7)
    randomise(network, 0)
    save_file(network.state_dict(), tmp_path / "seven.safetensors")
    begun = loaded_network(tmp_path / "seven.safetensors", None, CLASSES, QUICK, AS_IT_IS)
    assert begun.network.head.weight.shape == (10, 288)
    assert begun.network.head.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert torch.equal(begun.network.norm.weight, network.norm.weight)
    assert "a new head for 10 classes" in begun.notes[0]


def test_classes_of_unknown_names_make_a_new_head_even_if_there_are_as_many(tmp_path: Path) -> None:
    network = create_model("edgevit_xxs", num_classes=10)
    randomise(network, 0)
    save_file(network.state_dict(), tmp_path / "ten.safetensors")
    begun = loaded_network(tmp_path / "ten.safetensors", None, CLASSES, QUICK, AS_IT_IS)
    assert not torch.equal(begun.network.head.weight, network.head.weight)


def test_a_contradicting_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="edgevit_s"):
        loaded_network(WEIGHTS, "edgevit_s", CLASSES, QUICK, AS_IT_IS)


def test_rates_fall_from_block_to_block() -> None:
    """XXS has 7 blocks: the stem is depth 0, the head 8; the last has the whole rate."""
    network = create_model("edgevit_xxs", num_classes=10)
    optimizer = make_optimizer(network, changed(preset("finetune"), {"layer_decay": 0.5}))
    scale = {id(parameter): group["lr_scale"] for group in optimizer.param_groups for parameter in group["params"]}
    found = {name: scale[id(parameter)] for name, parameter in network.named_parameters()}
    depths = {
        r"patch_embed1\.": 0,
        r"blocks1\.0": 1,
        r"patch_embed2\.": 2,
        r"blocks2\.0": 2,
        r"patch_embed3\.": 3,
        r"blocks3\.0": 3,
    }
    depths |= {
        r"blocks3\.1": 4,
        r"blocks3\.2": 5,
        r"patch_embed4\.": 6,
        r"blocks4\.0": 6,
        r"blocks4\.1": 7,
        r"norm\.": 8,
        r"head\.": 8,
    }
    for name, value in found.items():
        (depth,) = [depth for start, depth in depths.items() if re.match(start, name)]
        assert value == pytest.approx(0.5 ** (8 - depth)), name
    decay = {group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"] if parameter.ndim <= 1}
    assert decay == {0.0}


def test_finetuning_begins_better_than_fresh_weights(data: Path, tmp_path: Path) -> None:
    """The trained fixture, taken a little further: its head is kept, though its classes stand in another order."""
    recipe = changed(
        preset("finetune"), {"image_size": 64, "epochs": 1.0, "warmup_epochs": 0.2, "batch_size": 16, "learning_rate": 1e-3}
    )
    run = train_model(data, recipe=recipe, finetune=WEIGHTS, output=tmp_path / "run", processes=1)
    assert run.top1 > 20
    assert "its head kept: the classes are the same" in run.notes[0]
    about = metadata(run.weights)
    assert about["recipe"]["layer_decay"] == 0.75
    assert about["labels"] == sorted(LABELS)
    written = load_file(run.weights)
    assert written["head.weight"].shape == (10, 288)
