"""`convert.py demo BUNDLE`: the web app with a bundle in it, served on this machine until Ctrl-C."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgevit_deploy.commands.console import say


def demo(
    bundle: Path,
    *,
    port: int = 8000,
    browser: bool = True,
    unproven: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show a bundle in the browser: top-5 of a picture or the camera, latency, and the golden data replayed there.

    The page is served on 127.0.0.1 until Ctrl-C, and nothing of it is asked for elsewhere. Its runtimes are fetched once by npm.

    Args:
        bundle: Folder written by a conversion to a target that the web sample loads; it is re-hashed.
        port: Where to listen; 0 for any port that is free.
        browser: Open the page in the system's browser.
        unproven: Also take a bundle that failed parity or was never run; the page then says so.
    """
    import threading

    from edgevit_deploy.apps.runtimes import VENDOR, web_runtimes
    from edgevit_deploy.apps.samples import find_sample
    from edgevit_deploy.apps.serve import keep_nothing_offline, serving
    from edgevit_deploy.apps.write import write_app
    from edgevit_deploy.process.interrupts import INTERRUPTS
    from edgevit_deploy.process.scratch import scratch_folder

    with scratch_folder() as scratch:
        written = write_app("web", bundle, scratch / "app", unproven=unproven)
        for warning in written.warnings:
            say(f"warning: {warning}")
        keep_nothing_offline(written.folder)
        runtimes = web_runtimes(find_sample("web").folder, say)
        with serving(written.folder, port, {VENDOR: runtimes}) as server:
            address = f"http://127.0.0.1:{server.server_address[1]}/"
            try:
                say(f"{address} shows {written.target} by {written.library}; Ctrl-C ends it")
                if browser:  # beside the server: a browser that runs in the terminal returns when it is closed
                    threading.Thread(target=_show, args=(address,), daemon=True).start()
                server.serve_forever()
            except KeyboardInterrupt:
                INTERRUPTS.obeyed()
                say("stopped")
    return 0


def _show(address: str) -> None:
    import webbrowser

    try:
        opened = webbrowser.open(address)
    except webbrowser.Error:
        opened = False
    if not opened:
        say("no browser was found to open it; open the address in one")
