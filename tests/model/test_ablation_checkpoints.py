"""Checkpoints of ablations: known by their tensors, by what their file says, or by `--model`; never read as what they are not."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.model.variants import ABLATIONS, find_variant
from edgevit_deploy.spec import PUBLISHED_BLOCK, BlockSpec, ModelSpec
from tests.helpers.checkpoints import refusal, seeded_state
from tests.model.test_extras_own import metadata

SAMPLERS = ("edgevit_xxs_center", "edgevit_xxs_avg", "edgevit_xxs_max")
BY_TENSORS = tuple(name for name in ABLATIONS if name not in SAMPLERS)


def file(folder: Path, state: dict[str, Tensor], says: str | None = None) -> Path:
    """A file of this state; `says` is the variant in our own metadata."""
    path = folder / "weights.safetensors"
    about = {} if says is None else {"format": "pt", "edgevit_deploy": json.dumps(metadata(variant=says))}
    save_file(state, path, metadata=about)
    return path


def load(path: Path, model: str | None = None) -> LoadedModel:
    return load_model(ModelOrigin(weights=path, model=model))


def assert_holds(loaded: LoadedModel, name: str, state: dict[str, Tensor]) -> None:
    assert loaded.spec.variant == loaded.record.variant == name
    assert loaded.spec.block == loaded.record.block == find_variant(name).block
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.network.state_dict().items())


@pytest.mark.parametrize("name", BY_TENSORS)
@pytest.mark.parametrize("said", [True, False], ids=["--model", "no --model"])
def test_other_tensors_are_another_variant(name: str, said: bool, tmp_path: Path) -> None:
    loaded = load(file(tmp_path, seeded_state(name)), name if said else None)
    assert_holds(loaded, name, seeded_state(name))
    assert any("are not the published ones but those of an ablation" in note for note in loaded.notes)


@pytest.mark.parametrize("name", SAMPLERS)
def test_our_own_files_say_their_sampler(name: str, tmp_path: Path) -> None:
    path = file(tmp_path, seeded_state(name), says=name)
    for model in (None, name):
        loaded = load(path, model)
        assert_holds(loaded, name, seeded_state(name))
        assert not any("have the same tensors" in note for note in loaded.notes)


@pytest.mark.parametrize("name", SAMPLERS)
def test_where_the_file_does_not_say_the_user_does(name: str, tmp_path: Path) -> None:
    path = file(tmp_path, seeded_state(name))
    assert_holds(load(path, name), name, seeded_state(name))
    open_ = load(path)
    assert_holds(open_, "edgevit_xxs", seeded_state(name))
    said = f"read as edgevit_xxs; {', '.join(SAMPLERS)} have the same tensors: to say otherwise: --model"
    assert said in open_.notes
    assert said not in load(path, "edgevit_xxs").notes


@pytest.mark.parametrize("name", ["edgevit_xxs", *ABLATIONS])
def test_a_record_of_it_is_read_back_and_an_old_one_is_of_the_published_block(name: str) -> None:
    record = load_model(ModelOrigin(model=name)).record
    text = msgspec.json.encode(record)
    assert msgspec.json.decode(text, type=ModelRecord) == record
    old = msgspec.json.decode(text)
    del old["block"]
    before = msgspec.convert(old, ModelRecord)
    assert before == replace(record, block=PUBLISHED_BLOCK)
    assert (before == record) == (name == "edgevit_xxs")
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'pooled'"):
        msgspec.convert(
            msgspec.json.decode(text.replace(b'"transposed"', b'"pooled"').replace(b'"bilinear"', b'"pooled"')), ModelRecord
        )


@pytest.mark.parametrize(
    ("holds", "says", "model"),
    [
        ("edgevit_xxs_center", "edgevit_xxs_center", "edgevit_xxs"),
        ("edgevit_xxs", "edgevit_xxs", "edgevit_xxs_center"),
        ("edgevit_xxs_max", "edgevit_xxs_max", "edgevit_xxs_avg"),
        ("edgevit_xxs_lsa", None, "edgevit_xxs"),
        ("edgevit_xxs", None, "edgevit_xxs_bilinear"),
        ("edgevit_xxs_without_lp", None, "edgevit_xxs_without_la"),
    ],
)
def test_a_contradiction_is_refused(holds: str, says: str | None, model: str, tmp_path: Path) -> None:
    path = file(tmp_path, seeded_state(holds), says)
    with pytest.raises(UsageError, match=f"--model {model} .* which is {holds}; use --model {holds}, or drop --model"):
        load(path, model)


def test_metadata_that_contradict_the_tensors_are_refused(tmp_path: Path) -> None:
    path = file(tmp_path, seeded_state("edgevit_xxs_bilinear"), says="edgevit_xxs_center")
    assert "says edgevit_xxs_center but its tensors are those of edgevit_xxs_bilinear" in refusal(path)


def test_a_tensor_of_another_block_is_refused(tmp_path: Path) -> None:
    state = seeded_state("edgevit_xxs_without_lp") | {
        key: tensor for key, tensor in seeded_state().items() if key.startswith("blocks1.0.SelfAttn.attn.")
    }
    assert "unexpected: blocks1.0.SelfAttn.attn" in refusal(file(tmp_path, state))
    some = {key: tensor for key, tensor in seeded_state().items() if not key.startswith("blocks3.1.SelfAttn.attn.LocalProp")}
    assert "missing: blocks3.1.SelfAttn.attn.LocalProp" in refusal(file(tmp_path, some))


@pytest.mark.parametrize(
    ("block", "name"),
    [
        (BlockSpec(local="grouped", sampler="max"), "edgevit_c36_d1_1_1_1_lsa_max"),
        (BlockSpec(local="none", attention="reduced"), "edgevit_c36_d1_1_1_1_without_la"),
        (BlockSpec(sampler="avg", spread="bilinear"), "edgevit_c36_d1_1_1_1_avg_bilinear"),
    ],
)
def test_mixed_and_shortened_blocks_have_a_name_of_their_own(block: BlockSpec, name: str, tmp_path: Path) -> None:
    spec: ModelSpec = replace(find_variant("edgevit_xxs"), depths=(1, 1, 1, 1), num_classes=10, block=block)
    state = EdgeViT(spec).state_dict()
    loaded = load(file(tmp_path, state, says=name))
    assert (loaded.spec.variant, loaded.spec.block) == (name, block)
    unsaid = load(file(tmp_path, state))
    assert unsaid.spec.block == replace(block, sampler=PUBLISHED_BLOCK.sampler)
