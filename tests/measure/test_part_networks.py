"""Networks of one part: each part stands alone, in every form, and has what it should have."""

from collections import Counter

import pytest
import torch

from edgevit_deploy.commands.friendliness.view import HEADINGS
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.measure.friendliness import GRAPHS
from edgevit_deploy.measure.part_networks import part_networks
from edgevit_deploy.model.anatomy import ALL_PARTS, PARTS
from edgevit_deploy.spec import Graph
from export.executorch import ExecuTorchExporter
from tests.helpers.fakes import count_leaves
from tests.helpers.small import SMALL_SIZE, small_network


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("form", [Form(), ExecuTorchExporter.form, Form(feed_forward="tokens", memory="channels_last")])
def test_each_part_stands_alone(graph: Graph, form: Form) -> None:
    """Every column of the matrix is a part."""
    network = small_network(0)
    rewritten = to_deploy_form(network, form).network
    found = {}
    for each in part_networks(network, rewritten, graph):
        whole, without = each.network.float().eval(), each.without.float().eval()
        images = torch.zeros(1, 3, *SMALL_SIZE)
        assert whole(images).shape == (1, each.outputs)
        assert without(images).shape == (1, each.outputs_without)
        found[each.part] = Counter(count_leaves(each.network)) - Counter(count_leaves(each.without))
    assert tuple(found) == PARTS
    assert tuple(HEADINGS) == ALL_PARTS
    assert found["LocalAgg"]["Conv2d"] == 3
    assert found["FFN"]["GELU"] == 1
    if graph == "original":
        assert found["LocalProp"] == {"ConvTranspose2d": 1}
        assert found["norms"] == {"LayerNorm": 1}
        assert found["LocalAgg"]["BatchNorm2d"] == found["head"]["BatchNorm2d"] == 1
        assert found["GlobalSparseAttn"] == {"Linear": 2, "AvgPool2d": 1}
    else:
        assert not any(counts["BatchNorm2d"] or counts["ConvTranspose2d"] for counts in found.values())
