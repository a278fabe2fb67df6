"""Hosts for tests: this one with another exporter; what this host can prove; and a runtime's session as the host gives it out."""

from typing import Any

from edgevit_deploy.exporter import Exporter
from edgevit_deploy.host import RUNTIMES, THIS_HOST, ThisHost, load_session
from edgevit_deploy.session import Session
from edgevit_deploy.spec import Precision


class HostWith(ThisHost):
    """This host, but one target is built by the given exporter."""

    def __init__(self, exporter: Exporter[Any]) -> None:
        self.exporter = exporter

    def find_exporter(self, target: str) -> Exporter[Any]:
        return self.exporter if target == self.exporter.target else super().find_exporter(target)


def runs_here(target: str, precision: Precision) -> bool:
    """Whether a target's files run here as they are, in the precision that they were made for."""
    session_type = THIS_HOST.find_session(target)
    return session_type is not None and session_type.executes(precision)


def registered(runtime: str) -> type[Session]:
    """The session of a runtime: in a child process where its line says so."""
    return load_session(RUNTIMES[runtime])
