"""Small OpenVINO models for tests, and what the CPU at hand can compute in."""

from edgevit_deploy.formats.openvino import load_openvino
from edgevit_deploy.spec import Precision
from export.openvino import OpenVinoExporter, OpenVinoOptions
from tests.helpers.targets import SmallTarget

SMALL: SmallTarget[OpenVinoOptions] = SmallTarget(exporter=OpenVinoExporter(), defaults={"graph": "deploy"})


def cpu_computes_in(precision: Precision) -> bool:
    """Whether OpenVINO lists a precision among what this CPU has arithmetic for, before any model is compiled."""
    capabilities = load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return precision.upper() in capabilities
