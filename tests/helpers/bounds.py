"""The bound that a target states for a precision."""

from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.spec import Precision


def bound_of(target: str, precision: Precision) -> NoiseMultiple:
    return THIS_HOST.find_exporter(target).precisions[precision]
