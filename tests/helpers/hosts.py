"""What this host can prove, asked of the host and not of our own code."""

from edgevit_deploy.host import find_session
from edgevit_deploy.spec import Precision
from tests.helpers.openvino import cpu_computes_in


def runs_here(target: str, precision: Precision) -> bool:
    """Whether a target's files run here as they are: OpenVINO computes in another precision where the CPU lacks theirs."""
    if find_session(target) is None:
        return False
    return target != "openvino" or precision == "fp32" or cpu_computes_in(precision)
