"""Names of modules and of traced nodes -> part of the network."""

import pytest

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.model.anatomy import PARTS, part_of
from tests.helpers.small import small_network


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
