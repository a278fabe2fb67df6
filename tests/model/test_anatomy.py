"""The table of parts: what is derived from it for the network as it is, and for networks with a row more, less or changed."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import pytest
import torch
from torch import nn

from edgevit_deploy.deploy.chains import Sampler, chains, refill
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.measure.part_networks import part_networks
from edgevit_deploy.model.anatomy import ALL_PARTS, BOTH, PARTS, ROWS, Part, Row, TapPlace, at, part_of, parts_in, tap_places
from edgevit_deploy.model.edgevit import EdgeViT, GlobalSparseAttn, LGLBlock, to_features, to_tokens
from edgevit_deploy.parity.taps import TappedNetwork
from edgevit_deploy.spec import Graph
from tests.helpers.small import SMALL_SIZE, small_network


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("network.patch_embed1.proj", "patch embedding"),
        ("network.patch_embed1.norm", "norms"),
        ("blocks1.0.LocalAgg.pos_embed", "positional encoding"),
        ("blocks1.0.LocalAgg.norm1", "LocalAgg"),
        ("blocks1.0.LocalAgg.norm2", "FFN"),
        ("blocks1.0.LocalAgg.mlp.fc1", "FFN"),
        ("blocks1.0.SelfAttn.norm1", "norms"),
        ("blocks1.0.SelfAttn.norm2", "norms"),
        ("blocks1.0.SelfAttn.attn.norm", "norms"),
        ("blocks1.0.SelfAttn.attn.qkv", "GlobalSparseAttn"),
        ("blocks1.0.SelfAttn.attn.LocalProp", "LocalProp"),
        ("blocks1.0.SelfAttn", None),
        ("norm", "head"),
        ("head", "head"),
        ("/network/blocks3.1/SelfAttn/attn/MatMul_1", "GlobalSparseAttn"),
        ("/network/blocks3/blocks3.1/SelfAttn/mlp/body/fc1/Conv", "FFN"),
        ("/network/head/Gemm", "head"),
        ("/Add_7", None),
    ],
)
def test_part_of(path: str, part: str | None) -> None:
    assert part_of(path) == part


@pytest.mark.parametrize("graph", ["original", "deploy"])
def test_every_module_with_weights_has_a_part(graph: str) -> None:
    network = small_network(0) if graph == "original" else to_deploy_form(small_network(0), Form()).network
    parts = {
        part_of(name) for name, module in network.named_modules() if next(module.parameters(recurse=False), None) is not None
    }
    assert parts == set(PARTS)


def test_the_parts_are_those_of_the_type() -> None:
    assert get_args(Part) == ALL_PARTS
    assert set(ALL_PARTS) - set(PARTS) == {"LSA", "SRA"}


@pytest.mark.parametrize("graph", BOTH)
def test_every_path_of_the_table_is_in_its_graph(graph: Graph) -> None:
    """So a row cannot be silently without taps because a module has another name."""
    network = small_network(0) if graph == "original" else to_deploy_form(small_network(0), Form()).network
    modules = [name for name, _ in network.named_modules()]
    for row in ROWS:
        place = row.place(graph)
        for path in filter(None, (*place.modules, place.after, *place.before, row.rest_of)):
            pattern = path.replace("patch_embed", r"patch_embed\d").replace("blocks", r"blocks\d\.\d")
            assert any(re.fullmatch(pattern, module) for module in modules), path


def test_what_the_graphs_share_has_one_name() -> None:
    network = small_network(0)
    graphs = {"original": network, "deploy": to_deploy_form(network, Form()).network}
    original, deploy = ({place.name for place in places_in(graphs[graph], graph, ROWS) if place.shared} for graph in BOTH)
    assert original == deploy
    assert "blocks4.1.SelfAttn" in original


def places_in(network: nn.Module, graph: Graph, rows: tuple[Row, ...]) -> list[TapPlace]:
    working = [name for name, module in network.named_modules() if not isinstance(module, nn.Identity)]
    return list(tap_places(working, graph, rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """A network that is not quite EdgeViT, in both graphs and float64, and its table."""

    network: EdgeViT
    rewritten: nn.Module
    rows: tuple[Row, ...]


def without_local_agg() -> Ablation:
    """No block aggregates locally: the rows of LocalAgg are not in the table."""
    network = small_network(0).double()
    for module in network.modules():
        if isinstance(module, LGLBlock):
            module.LocalAgg = nn.Identity()
    rows = tuple(row for row in ROWS if "LocalAgg" not in row.published.modules[0])
    assert len(rows) == len(ROWS) - 3
    return Ablation(network=network, rewritten=to_deploy_form(network, Form()).network, rows=rows)


def with_average_pooling() -> Ablation:
    """Each delegate is the average of its window, computed by a module of the usual name: the table is as it is."""
    network = small_network(0).double()
    for module in network.modules():
        if isinstance(module, GlobalSparseAttn) and module.sample_rate > 1:
            module.sampler = nn.AvgPool2d(module.sample_rate)
    return Ablation(network=network, rewritten=to_deploy_form(network, Form()).network, rows=ROWS)


class Pooled(GlobalSparseAttn):
    """Attention among averages, whose sampler is called otherwise."""

    def forward(self, tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """(batch, height * width, channels) -> the same shape."""
        if self.sample_rate == 1:
            return super().forward(tokens, height, width)
        attended = self.attend(to_tokens(self.pool(to_features(tokens, height, width))))
        spread = self.LocalProp(to_features(attended, height // self.sample_rate, width // self.sample_rate))
        return self.proj(self.norm(to_tokens(spread)))  # type: ignore[no-any-return]


def with_a_sampler_of_another_name() -> Ablation:
    """The same under the name `pool`: one row says so."""
    usual = with_average_pooling()
    for module in list(usual.network.modules()):
        if isinstance(module, GlobalSparseAttn) and module.sample_rate > 1:
            module.__class__ = Pooled
            module.pool = module.sampler
            del module.sampler
    for chain in chains(usual.rewritten):
        refill(chain, {name.replace("sampler", "pool"): module for name, module in chain.named_children()})
    rows = tuple(
        replace(row, published=at("blocks.SelfAttn.attn.pool"), deploy=at("blocks.SelfAttn.attn.body.pool"))
        if row.computes == "sampler"
        else row
        for row in ROWS
    )
    return replace(usual, rows=rows)


ABLATIONS = (without_local_agg, with_average_pooling, with_a_sampler_of_another_name)


def rows_of_taps(ablation: Ablation) -> dict[Graph, dict[str, torch.Tensor]]:
    """Return the values at each tap of both graphs; the logits are checked against the network's own."""
    images = torch.randn(2, 3, *SMALL_SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found: dict[Graph, dict[str, torch.Tensor]] = {}
    with torch.no_grad():
        for graph in BOTH:
            network = ablation.network if graph == "original" else ablation.rewritten
            tapped = TappedNetwork(network, graph, ablation.rows)
            taps = tapped.taps(SMALL_SIZE)
            found[graph] = dict(
                zip((tap.name for tap in taps), tapped(images).split([tap.values for tap in taps], dim=1), strict=True)
            )
            assert torch.equal(found[graph]["logits"], network(images))
    return found


@pytest.mark.parametrize("build", ABLATIONS)
def test_another_network_needs_another_table_and_nothing_else(build: Callable[[], Ablation]) -> None:
    """Taps, parts and networks of one part: of each there is what the network has, and both graphs share what they should."""
    ablation = build()
    found = rows_of_taps(ablation)
    network = {"original": ablation.network, "deploy": ablation.rewritten}
    for graph in BOTH:
        places = places_in(network[graph], graph, ablation.rows)
        assert {place.name for place in places} | {"logits"} == set(found[graph])
        # In float64 a rewrite moves a value by rounding alone; a tap at another place is off by its whole size.
        for name in (place.name for place in places if place.shared):
            torch.testing.assert_close(found["original"][name], found["deploy"][name], rtol=1e-9, atol=1e-9)
        weighted = [name for name, m in network[graph].named_modules() if next(m.parameters(recurse=False), None) is not None]
        assert {part_of(name, ablation.rows) for name in weighted} == set(parts_in(ablation.rows))
        alone = list(part_networks(ablation.network, ablation.rewritten, graph, ablation.rows))
        assert tuple(each.part for each in alone) == parts_in(ablation.rows)
        for each in alone:
            assert each.network.double()(torch.zeros(1, 3, *SMALL_SIZE, dtype=torch.float64)).shape == (1, each.outputs)


def test_without_local_agg_there_is_none() -> None:
    ablation = without_local_agg()
    assert tuple(part for part in PARTS if part != "LocalAgg") == parts_in(ablation.rows)
    assert not any("LocalAgg" in name for names in rows_of_taps(ablation).values() for name in names)


@pytest.mark.parametrize("graph", BOTH)
def test_another_sampler_is_tapped_and_stands_alone(graph: Graph) -> None:
    """By one row; by the usual table nothing would look at it."""
    ablation = with_a_sampler_of_another_name()
    network = ablation.network if graph == "original" else ablation.rewritten
    sampled = [tap.name for tap in TappedNetwork(network, graph, ablation.rows).taps(SMALL_SIZE) if tap.part == "sampler"]
    assert sampled == [f"blocks{block}.SelfAttn.attn.pool" for block in ("1.0", "2.0", "3.0", "3.1", "3.2")]
    assert not any(tap.part == "sampler" for tap in TappedNetwork(network, graph).taps(SMALL_SIZE))
    attention = {each.part: each.network for each in part_networks(ablation.network, ablation.rewritten, graph, ablation.rows)}
    pools = [module for module in attention["GlobalSparseAttn"].modules() if isinstance(module, nn.AvgPool2d)]
    assert [pool.kernel_size for pool in pools] == [2]


def test_a_sampler_is_rewritten_only_if_it_takes_one_position() -> None:
    rewritten = with_average_pooling().rewritten
    assert not any(isinstance(module, Sampler) for module in rewritten.modules())
    assert any(isinstance(module, Sampler) for module in to_deploy_form(small_network(0), Form()).network.modules())
