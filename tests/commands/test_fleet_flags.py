"""The flags of `--on` as they are typed: a command line that is printed does the same again."""

from pathlib import Path

import pytest

from edgevit_deploy.cli import build_app
from edgevit_deploy.commands.fleet import FleetFlags

TLS = {"tls_ca": Path("a ca.pem"), "tls_cert": Path("cert.pem"), "tls_key": Path("key.pem")}

GIVEN = (
    FleetFlags(),
    FleetFlags(on="local:2"),
    FleetFlags(on="tcp://10.0.0.1:8786", insecure=True, needs=("arm64", "macos")),
    FleetFlags(on="tls://10.0.0.1:8786", needs=("arm64",), **TLS),
)


@pytest.mark.parametrize("flags", GIVEN)
def test_what_is_printed_is_read_as_the_same(flags: FleetFlags) -> None:
    tokens = ["bench", "bundle", *flags.tokens()]
    _, bound, _ = build_app(tokens).parse_args(tokens, exit_on_error=False, print_error=False)
    read = bound.arguments.get("fleet_flags", FleetFlags())
    assert (read.on, read.access(), read.wanted()) == (flags.on, flags.access(), flags.wanted())
