"""`convert.py app PLATFORM BUNDLE`: a small project that loads a bundle, shows what it sees, and replays its golden data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgevit_deploy.commands.console import print_json, say

if TYPE_CHECKING:
    from edgevit_deploy.apps.write import App


def app(
    platform: str,
    bundle: Path,
    *,
    output: Path | None = None,
    unproven: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write a small project that loads a bundle, shows the top-5 of a picture, and replays the golden data with a verdict.

    Args:
        platform: android, cpp, ios or web.
        bundle: Folder written by a conversion; it is re-hashed, and copied into the project.
        output: Folder of the project; nothing may be there yet. [default: build/app/PLATFORM]
        unproven: Also take a bundle that failed parity or was never run; the app then says so on its screen.
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy.apps.write import write_app

    written = write_app(platform, bundle, output or Path("build/app") / platform, unproven=unproven)
    _say(written)
    if json:
        print_json(written)
    return 0


def _say(written: "App") -> None:
    for warning in written.warnings:
        say(f"warning: {warning}")
    say(f"saved: {written.folder}, which loads {written.target} by {written.library}; {written.proof}")
    say(f"next: cd {written.folder}")
    for command in written.next:
        say(f"      {command}")
