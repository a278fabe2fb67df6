"""What this host can prove, and a runtime's session as the host gives it out."""

from edgevit_deploy.host import RUNTIMES, find_session, load_session
from edgevit_deploy.session import Session
from edgevit_deploy.spec import Precision


def runs_here(target: str, precision: Precision) -> bool:
    """Whether a target's files run here as they are, in the precision that they were made for."""
    session_type = find_session(target)
    return session_type is not None and session_type.executes(precision)


def registered(runtime: str) -> type[Session]:
    """The session of a runtime: in a child process where its line says so."""
    return load_session(RUNTIMES[runtime])
