"""What a target does otherwise for an ablation: another form, or a refusal that names the operator."""

import pytest

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.variants import VARIANTS
from export import TARGETS
from export.coreai import CoreAIExporter
from export.ncnn import NcnnExporter

OTHERWISE = (("ncnn", "edgevit_xxs_center"), ("ncnn", "edgevit_xxs_lsa"), ("coreai", "edgevit_xxs_bilinear"))


@pytest.mark.parametrize("target", TARGETS)
def test_other_networks_have_the_targets_own_form_and_are_not_refused(target: str) -> None:
    exporter = TARGETS[target].load()()
    for name, spec in VARIANTS.items():
        if (target, name) in OTHERWISE:
            continue
        plan = exporter.plan(spec)
        exporter.refuse(plan)
        assert plan.form == exporter.form


def test_ncnn_takes_the_center_without_a_crop() -> None:
    assert NcnnExporter().plan(VARIANTS["edgevit_xxs_center"]).form == NcnnExporter.form.change("sampler", "depthwise")


def test_ncnn_refuses_groups_and_says_what_stops_it() -> None:
    exporter = NcnnExporter()
    with pytest.raises(UsageError, match=r"ncnn has no batch axis.*groups there: pnnx writes its Reshape") as refused:
        exporter.refuse(exporter.plan(VARIANTS["edgevit_xxs_lsa"]))
    assert "\n" not in str(refused.value)


def test_core_ai_refuses_bilinear_upsampling_and_says_what_stops_it() -> None:
    exporter = CoreAIExporter()
    with pytest.raises(UsageError, match="interpolate, is not in the table of the evaluation") as refused:
        exporter.refuse(exporter.plan(VARIANTS["edgevit_xxs_bilinear"]))
    assert "\n" not in str(refused.value)
