"""What a target says that it can round otherwise, each of it alone: written, read back, and as good as its emulation."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.deploy.scheme import RoundingChoices
from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import shown
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.workbench import Passed, Workbench, open_workbench
from export import TARGETS
from tests.helpers.tiers import SLOW_TO_CONVERT
from tests.helpers.trained import WEIGHTS


def otherwise(target: str) -> list[RoundingChoices]:
    """Return every choice of a target's int8 that is not its own; of what may stay in floating point all names together."""
    quantisation = TARGETS[target].load().quantised.get("int8")
    if quantisation is None:
        return []
    parts = {part: options for part, options in quantisation.choices.items() if part != "floating"}
    own = quantisation.scheme
    alone: list[RoundingChoices] = [
        {part: choice} for part, options in parts.items() for choice in options if choice != getattr(own, part)
    ]
    names = tuple(sorted(map(str, quantisation.choices.get("floating", ()))))
    return [*alone, *([{"floating": names}] if names else [])]


def case(target: str, rounding: RoundingChoices) -> Any:
    mark = pytest.mark.nightly if target in SLOW_TO_CONVERT else pytest.mark.slow
    words = "-".join(f"{part}-{shown(choice)}" for part, choice in rounding.items())
    return pytest.param(target, rounding, marks=mark, id=f"{target}-{words}")


CASES = [case(target, rounding) for target in TARGETS for rounding in otherwise(target)]


@pytest.fixture(scope="module")
def bench() -> Iterator[Workbench]:
    model = load_model(ModelOrigin(weights=WEIGHTS))
    with open_workbench(model, THIS_HOST, calibration=CalibrationChoice(pictures="synthetic")) as opened:
        yield opened


def test_there_is_something_to_choose() -> None:
    """So that the test below does try some, and none that is known to fail."""
    assert {"activations": "s8"} in otherwise("onnx")
    assert {"symmetric": True} in otherwise("litert")
    assert {"symmetric": True} not in otherwise("onnx"), "with s8 it fails the gate (docs/measurements/int8.md)"


@pytest.mark.parametrize(("target", "rounding"), CASES)
def test_each_choice_passes_the_gate(bench: Workbench, target: str, rounding: RoundingChoices) -> None:
    exporter = THIS_HOST.find_exporter(target)
    plan = exporter.plan(bench.model.spec, precision="int8", rounding=rounding)
    result = bench.attempt(plan)
    assert isinstance(result, Passed), result
    own = replace(plan, scheme=exporter.quantised["int8"].scheme, options=exporter.options_type())
    with pytest.raises(ExportError, match="does not round as it should"):
        bench.rounded.check_stored(exporter, result.artifact, own)
