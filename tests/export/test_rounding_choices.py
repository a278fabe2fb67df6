"""What a target says that it can round otherwise, all of it at once: written, read back, and as good as its emulation."""

from dataclasses import replace
from typing import Any

import pytest

from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import Quantisation
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.workbench import Passed, open_workbench
from export import TARGETS
from tests.helpers.tiers import SLOW_TO_CONVERT
from tests.helpers.trained import WEIGHTS


def otherwise(quantisation: Quantisation) -> dict[str, Any]:
    """Every choice other than the target's own."""
    own = quantisation.scheme
    changes: dict[str, Any] = {
        part: next(choice for choice in choices if choice != getattr(own, part))
        for part, choices in quantisation.choices.items()
        if part != "floating"
    }
    return {**changes, "floating": tuple(map(str, quantisation.choices["floating"]))}


def tier(target: str) -> Any:
    return pytest.param(target, marks=pytest.mark.nightly if target in SLOW_TO_CONVERT else pytest.mark.slow)


WITH_CHOICES = [
    name for name in TARGETS if any(TARGETS[name].load().quantised[p].choices for p in TARGETS[name].load().quantised)
]


@pytest.mark.parametrize("target", [tier(target) for target in WITH_CHOICES])
def test_everything_rounded_otherwise_passes_the_gate(target: str) -> None:
    exporter, model = THIS_HOST.find_exporter(target), load_model(ModelOrigin(weights=WEIGHTS))
    with open_workbench(model, THIS_HOST, calibration=CalibrationChoice(pictures="synthetic")) as bench:
        plan = exporter.plan(model.spec, precision="int8", rounding=otherwise(exporter.quantised["int8"]))
        result = bench.attempt(plan)
        assert isinstance(result, Passed), result
        own = replace(plan, scheme=exporter.quantised["int8"].scheme, options=exporter.options_type())
        with pytest.raises(ExportError, match="does not round as it should"):
            bench.rounded.check_stored(exporter, result.artifact, own)
