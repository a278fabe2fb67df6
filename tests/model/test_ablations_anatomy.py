"""The table of parts, for the networks that the ablations are: taps, parts and networks of one part follow from it."""

import re
from functools import cache

import pytest
import torch
from torch import nn

from edgevit_deploy import create_model
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.measure.part_networks import part_networks
from edgevit_deploy.model.anatomy import ALL_ROWS, BOTH, part_of, parts_in, rows_of
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.model.variants import ABLATIONS, BASELINE
from edgevit_deploy.parity.taps import TappedNetwork
from edgevit_deploy.spec import Graph
from tests.helpers.small import SMALL_SIZE

NAMES = (BASELINE.variant, "edgevit_xxs_lsa", "edgevit_xxs_without_la", "edgevit_xxs_without_lp", "edgevit_xxs_bilinear")


@cache
def graphs_of(name: str) -> dict[Graph, nn.Module]:
    network = create_model(name, num_classes=10, image_size=SMALL_SIZE)
    randomise(network, seed=0)
    network.double()
    return {"original": network, "deploy": to_deploy_form(network, Form()).network}


@pytest.mark.parametrize("graph", BOTH)
def test_every_path_of_the_table_is_in_one_of_the_networks(graph: Graph) -> None:
    modules = [path for name in NAMES for path, _ in graphs_of(name)[graph].named_modules()]
    for row in ALL_ROWS:
        place = row.place(graph)
        for path in filter(None, (*place.modules, place.after, *place.before, row.rest_of)):
            pattern = path.replace("patch_embed", r"patch_embed\d").replace("blocks", r"blocks\d\.\d")
            assert any(re.fullmatch(pattern, module) for module in modules), path


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("graph", BOTH)
def test_every_module_with_weights_has_a_part_that_the_network_has(name: str, graph: Graph) -> None:
    weighted = [path for path, m in graphs_of(name)[graph].named_modules() if next(m.parameters(recurse=False), None) is not None]
    rows = rows_of(ABLATIONS[name].block)
    plain = {"GlobalSparseAttn"}  # of stage 4, in every network
    assert {part_of(path) for path in weighted} | plain >= set(parts_in(rows)) - {"LocalProp"}
    assert {part_of(path) for path in weighted} <= set(parts_in(rows)) | plain


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("edgevit_xxs_lsa", ("LSA", "GlobalSparseAttn", "LocalProp")),
        ("edgevit_xxs_without_la", ("SRA",)),
        ("edgevit_xxs_without_lp", ("LocalAgg", "SRA")),
        ("edgevit_xxs_bilinear", ("LocalAgg", "GlobalSparseAttn", "LocalProp")),
    ],
)
def test_the_rows_of_a_block_are_its_parts(name: str, parts: tuple[str, ...]) -> None:
    assert parts_in(rows_of(ABLATIONS[name].block)) == (
        "patch embedding",
        "positional encoding",
        *parts,
        "FFN",
        "norms",
        "head",
    )


@pytest.mark.parametrize("name", NAMES[1:])
def test_taps_see_each_part_and_both_graphs_share_what_they_should(name: str) -> None:
    x = torch.randn(2, 3, *SMALL_SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found: dict[Graph, dict[str, torch.Tensor]] = {}
    shared: dict[Graph, set[str]] = {}
    for graph, network in graphs_of(name).items():
        tapped = TappedNetwork(network, graph)
        taps = tapped.taps(SMALL_SIZE)
        with torch.no_grad():
            found[graph] = dict(
                zip((tap.name for tap in taps), tapped(x).split([tap.values for tap in taps], dim=1), strict=True)
            )
            assert torch.equal(found[graph]["logits"], network(x))
        shared[graph] = {tap.name for tap in taps if tap.shared}
        mixing = {"edgevit_xxs_lsa": "GroupedAttn.attn.attend", "edgevit_xxs_bilinear": "SelfAttn.attn.LocalProp"}
        assert f"blocks1.0.{mixing.get(name, 'SelfAttn.sra.attend')}" in found[graph]
    assert shared["original"] == shared["deploy"]
    for tap in shared["original"]:
        torch.testing.assert_close(found["original"][tap], found["deploy"][tap], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("graph", BOTH)
def test_each_part_stands_alone(name: str, graph: Graph) -> None:
    graphs = graphs_of(name)
    alone = list(part_networks(graphs["original"], graphs["deploy"], graph))  # type: ignore[arg-type] # an EdgeViT
    assert tuple(each.part for each in alone) == parts_in(rows_of(ABLATIONS[name].block))
    for each in alone:
        assert each.network.double()(torch.zeros(1, 3, *SMALL_SIZE, dtype=torch.float64)).shape == (1, each.outputs)
    kinds = {each.part: {type(module) for module in each.network.modules()} for each in alone}
    if name == "edgevit_xxs_bilinear":
        assert nn.Upsample in kinds["LocalProp"]
