"""Hosts for tests: this one with another exporter; and what this host can prove, asked of the host and not of our own code."""

from typing import Any

from edgevit_deploy.exporter import Exporter
from edgevit_deploy.host import THIS_HOST, ThisHost
from edgevit_deploy.spec import Precision
from tests.helpers.openvino import cpu_computes_in


class HostWith(ThisHost):
    """This host, but one target is built by the given exporter."""

    def __init__(self, exporter: Exporter[Any]) -> None:
        self.exporter = exporter

    def find_exporter(self, target: str) -> Exporter[Any]:
        return self.exporter if target == self.exporter.target else super().find_exporter(target)


def runs_here(target: str, precision: Precision) -> bool:
    """Whether a target's files run here as they are: OpenVINO computes in another precision where the CPU lacks theirs."""
    if THIS_HOST.find_session(target) is None:
        return False
    return target != "openvino" or precision == "fp32" or cpu_computes_in(precision)
