"""What a training is asked for whose network is to round as the integer files of one target do."""

from dataclasses import dataclass
from typing import Any

import msgspec

from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.spec import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRounding:
    """For which files a network is trained; `edgevit_deploy.rounded_training` makes one.

    Attributes:
        target: the files' format.
        precision: theirs.
        scheme: what they round, and how.
        form: of the deploy graph in them.
        calibration: pictures that show ranges; the training's own when none are named.
    """

    target: str
    precision: Precision
    scheme: Scheme
    form: Form
    calibration: CalibrationChoice

    def identity(self) -> dict[str, Any]:
        """Return what must be the same when a training goes on."""
        return {
            "files": f"{self.target} {self.precision}",
            "scheme": msgspec.to_builtins(self.scheme),
            "form": self.form.choices(),
        }
