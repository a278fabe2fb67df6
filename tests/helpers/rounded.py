"""The trained network, rounded for one target: its plan with ranges of drawn pictures, its file, its yardstick."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevit_deploy.calibration.choice import SYNTHETIC, CalibrationChoice
from edgevit_deploy.deploy.quantised import stored
from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.spec import InputKind, Precision
from edgevit_deploy.workbench import Workbench, open_workbench
from tests.helpers.trained import WEIGHTS


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundedFile:
    """A file, and what it was made by."""

    bench: Workbench
    plan: ExportPlan[Any]
    artifact: Artifact

    @property
    def expected(self) -> Stored:
        """What must stand in it."""
        return stored(self.bench.rounded.emulation(self.plan))

    def verdict(self, artifact: Artifact | None = None) -> str:
        """Of the comparison with the emulation, for the file or another one in its place."""
        return self.bench.judge(artifact or self.artifact, self.bench.truths(self.plan)).status


@contextmanager
def rounded_file(target: str, precision: Precision, folder: Path, takes: InputKind = "tensor") -> Iterator[RoundedFile]:
    """Build the file into a folder; the bench is open as long as the context is."""
    origin = ModelOrigin(model=None, weights=WEIGHTS, num_classes=None, image_size=None, labels=None, seed=None, preprocess=None)
    with open_workbench(load_model(origin), THIS_HOST, calibration=CalibrationChoice(pictures=SYNTHETIC)) as bench:
        asked = THIS_HOST.find_exporter(target).plan(bench.model.spec, precision=precision, takes=takes)
        plan = bench.rounded.calibrated(asked)
        yield RoundedFile(bench=bench, plan=plan, artifact=bench.build(plan, folder=folder))
