"""The ablations' deploy forms: every rewriting that applies is exact, and one that does not says nothing."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from edgevit_deploy import create_model
from edgevit_deploy.deploy.chains import Attention, Grouped, Sampler
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.lay_open import lay_open
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.model.variants import ABLATIONS
from tests.deploy.test_rewrites import EXACT, EXTREMES, images, relative_error

SOME = ("edgevit_xxs_lsa", "edgevit_xxs_center", "edgevit_xxs_without_lp", "edgevit_xxs_bilinear")
"""One of each kind of part: the others have no module that these have not."""

OWN = ("norm_affine", "sampler", "attention", "norm")
"""Parts of a form whose rewritings see a module that only an ablation has; the others are tried with these, mixed."""

FORMS = [*(form for part, forms in Form().alternatives().items() if part in OWN for form in forms), *EXTREMES]


def make(name: str) -> EdgeViT:
    model = create_model(name, num_classes=10, image_size=(64, 96))
    randomise(model, seed=1)
    return model.double().eval()


def tiny(name: str) -> EdgeViT:
    """One block in each stage."""
    spec = replace(ABLATIONS[name], variant="tiny", depths=(1, 1, 1, 1), num_classes=10)
    model = EdgeViT(spec.with_image_size((32, 64)))
    randomise(model, seed=1)
    return model.double().eval()


@pytest.mark.parametrize("name", ABLATIONS)
def test_laid_open_and_rewritten_it_is_the_network(name: str) -> None:
    model = make(name)
    assert relative_error(lay_open(copy.deepcopy(model)), model, images(1)) <= EXACT
    form = to_deploy_form(model, Form())
    for inputs in (images(), images(3, 32, 64)):
        assert relative_error(form.network, model, inputs) <= EXACT
    assert not any(isinstance(module, nn.BatchNorm2d) for module in form.network.modules())


@pytest.mark.parametrize("name", SOME)
def test_every_form_is_the_network(name: str) -> None:
    model, inputs = tiny(name), images(1, 32, 64)
    for form in FORMS:
        assert relative_error(to_deploy_form(model, form).network, model, inputs) <= EXACT, form


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("edgevit_xxs_without_la", {"fold batch norm": 0, "sample first": 0, "shuffle local prop": 0, "fold position": 9}),
        ("edgevit_xxs_lsa", {"fold batch norm": 0, "sample first": 5, "fold attention scale": 11, "carry value bias": 11}),
        ("edgevit_xxs_center", {"fold batch norm": 10, "sample first": 5, "carry value bias": 7}),
        ("edgevit_xxs_avg", {"sample first": 0, "shuffle local prop": 5}),
        ("edgevit_xxs_max", {"sample first": 0, "shuffle local prop": 5}),
        ("edgevit_xxs_without_lp", {"fold batch norm": 8, "drop key bias": 6, "carry value bias": 6}),
        ("edgevit_xxs_bilinear", {"shuffle local prop": 0, "carry value bias": 2}),
    ],
)
def test_what_applies_is_applied(name: str, counts: dict[str, int]) -> None:
    """By hand: a block has two BatchNorms in LocalAgg, one position and one attention in each half; what is interpolated or
    pooled lets no bias and no norm past."""
    form = to_deploy_form(make(name), Form())
    assert counts == {rewrite: form.applied[rewrite] for rewrite in counts}
    for rewrite, count in counts.items():
        assert (rewrite in form.note()) == (count > 0)


@pytest.mark.parametrize(
    ("name", "centred"),
    [
        ("edgevit_xxs_without_lp", 4 + 4),
        ("edgevit_xxs_lsa", 4),
    ],
)
def test_the_convolution_and_the_norm_inside_spatial_reduction_are_rewritten_too(name: str, centred: int) -> None:
    form = to_deploy_form(make(name), Form(norm_affine="folded", patch_embed="centred"))
    assert form.applied["centre patch embed"] == centred
    if name == "edgevit_xxs_without_lp":
        reduced = [m for m in form.network.modules() if isinstance(m, Attention) and m.reduces]
        assert len(reduced) == 4
        assert all(norm.norm.weight is None for m in reduced for norm in list(m.reduce)[1:])
        return
    grouped = [
        m
        for m in form.network.modules()
        if isinstance(m, nn.Sequential) and isinstance(dict(m.named_children()).get("groups"), Grouped)
    ]
    assert len(grouped) == 5
    assert all(m.norm1.norm.weight is not None for m in grouped), "filled up positions are zeros behind the affine, not before it"


def test_a_norm_folded_over_filled_up_groups_would_show() -> None:
    """Why it is not done: put into the maps by hand, it changes what sides that are filled up give, and no others."""
    model = tiny("edgevit_xxs_lsa")
    folded = lay_open(copy.deepcopy(model))
    for module in folded.modules():
        if isinstance(module, nn.Sequential) and "groups" in dict(module.named_children()):
            attend, norm = module.groups.body.attend, module.norm1.norm
            with torch.no_grad():
                for linear in (attend.q, attend.k, attend.v):
                    linear.bias += linear.weight @ norm.bias
                    linear.weight *= norm.weight
                norm.weight.fill_(1)
                norm.bias.fill_(0)
    assert relative_error(folded, model, images(1, 224, 224)) <= EXACT
    assert relative_error(to_deploy_form(model, Form()).network, model, images(1, 224, 224)) <= EXACT
    assert relative_error(folded, model, images(1, 64, 96)) > 1e-6


@pytest.mark.parametrize("choice", ["max_pool", "slice", "depthwise"])
def test_the_center_is_taken_in_every_form_of_the_sampler(choice: str) -> None:
    graph = to_deploy_form(make("edgevit_xxs_center"), Form(sampler=choice)).network  # type: ignore[arg-type]
    sampler = graph.get_submodule("blocks1.0.SelfAttn.attn.body.sampler")
    x = torch.arange(64.0, dtype=torch.float64).reshape(1, 1, 8, 8).expand(1, 36, 8, 8)
    assert sampler(x)[0, 0].tolist() == [[18, 22], [50, 54]], "row 2 and column 2 of each 4 x 4 window"
    assert isinstance(sampler, Sampler) == (choice == "max_pool")
