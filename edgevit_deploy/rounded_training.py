"""From a target and a precision to a training whose network rounds as such files do."""

from edgevit_deploy.calibration.choice import NO_CALIBRATION, CalibrationChoice
from edgevit_deploy.deploy.trained import check_trainable
from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.variants import find_variant
from edgevit_deploy.spec import Precision
from edgevit_deploy.train.rounding import TrainedRounding

ANY_VARIANT = "edgevit_xxs"
"""What a target rounds is the same in all of them."""


def training_for(target: str, precision: Precision | None, calibration: CalibrationChoice = NO_CALIBRATION) -> TrainedRounding:
    """Return how a network is trained for a target's files; nothing of the target's need be installed.

    Args:
        target: registered name.
        precision: of the files, in eight bits.
        calibration: pictures that show ranges; the training's own when none are named.

    Raises:
        UsageError: no such target, or it has no such precision, or one that rounds nothing, or in a way that has no gradient.
    """
    exporter = THIS_HOST.find_exporter(target)
    if precision is None:
        raise UsageError(f"--qat {target}: say how its files are rounded; add --precision int8")
    plan = exporter.plan(find_variant(ANY_VARIANT), precision=precision)
    exporter.refuse(plan)
    if plan.scheme is None:
        raise UsageError(f"--qat {target}: files in {precision} round nothing to integers; use --precision int8")
    check_trainable(plan.scheme)
    if calibration.given and not plan.scheme.calibrated:
        raise UsageError(f"--calibration: {precision} rounds no activation by ranges; drop it")
    return TrainedRounding(target=target, precision=precision, scheme=plan.scheme, form=plan.form, calibration=calibration)
