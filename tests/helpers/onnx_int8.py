"""A file in int8 of the trained network, what must stand in it, and what it is judged by."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevit_deploy.deploy.quantised import emulation, stored
from edgevit_deploy.deploy.stored import Stored, differences
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.parity.gate import ParityReport, Truth
from edgevit_deploy.workbench import Workbench
from export.onnx import OnnxExporter

EXPORTER = OnnxExporter()
OPERATORS = 84
"""Convolutions and linear maps of XXS in the form for int8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """A plan with its ranges, the file that was made of it, what must stand in it and what it is judged by."""

    plan: ExportPlan[Any]
    artifact: Artifact
    expected: Stored
    truths: list[Truth]


def rounded(bench: Workbench) -> Rounded:
    plan = bench.rounded.calibrated(EXPORTER.plan(bench.model.spec, precision="int8"))
    assert plan.scheme is not None
    emulated = emulation(bench.network(plan.graph, plan.form), plan.scheme, plan.ranges)
    return Rounded(plan=plan, artifact=bench.build(plan), expected=stored(emulated), truths=bench.truths(plan))


def report(bench: Workbench, made: Rounded, path: Path) -> ParityReport:
    """Judge another file in place of the one that was made."""
    return bench.judge(replace(made.artifact, path=path), made.truths)


def wrong(made: Rounded, path: Path) -> list[str]:
    """Return what another file states of its rounding that it should not."""
    return differences(EXPORTER.stored(replace(made.artifact, path=path)), made.expected)
