"""Who gets in: nothing but loopback without TLS or an explicit word; and which `--on` is refused before anything is connected."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.errors import DeployError, MissingError, UsageError
from edgevit_deploy.fleet.access import Access, check_address, is_loopback
from edgevit_deploy.fleet.connection import check_on

TLS = Access(ca=Path("ca.pem"), cert=Path("cert.pem"), key=Path("key.pem"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.2", "0.0.0.0", "::", "8.8.8.8", "fe80::1"])
def test_everything_else_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:8786", "tcp://0.0.0.0:8786", "tcp://[2001:db8::1]:8786"])
def test_beyond_loopback_it_is_tls_or_an_explicit_word(address: str) -> None:
    with pytest.raises(UsageError, match="use tls:// with --tls-ca, --tls-cert and --tls-key, or say --insecure"):
        check_address(address, Access())
    check_address(address, Access(insecure=True))
    check_address(address.replace("tcp", "tls"), TLS)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tcp://[::1]:1", "tcp://localhost:65535"])
def test_loopback_needs_nothing(address: str) -> None:
    check_address(address, Access())


@pytest.mark.parametrize(
    ("address", "access", "message"),
    [
        ("tls://127.0.0.1:1", Access(ca=Path("x")), "add --tls-cert, --tls-key"),
        ("tls://10.0.0.1:1", Access(insecure=True), "TLS needs --tls-ca"),
        ("tls://127.0.0.1:1", Access(ca=Path("x"), cert=Path("x"), key=Path("x"), insecure=True), "--insecure is for tcp"),
        ("tcp://127.0.0.1:1", TLS, "would not be used"),
    ],
)
def test_flags_that_contradict_the_address_are_refused(address: str, access: Access, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_address(address, access)


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:8786", "http://127.0.0.1:8786", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "tcp://a b:1", "lokal"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="expected tcp://HOST:PORT or tls://HOST:PORT"):
        check_on(address, Access())


def test_an_unknown_machine_is_named() -> None:
    with pytest.raises(MissingError, match=r"no machine called nosuch\.invalid is known"):
        check_on("tcp://nosuch.invalid:8786", Access())


@pytest.mark.parametrize("on", ["local", "local:3"])
def test_local_takes_no_access_flags(on: str) -> None:
    check_on(on, Access())
    with pytest.raises(UsageError, match="drop the --tls flags and --insecure"):
        check_on(on, Access(insecure=True))


@pytest.mark.parametrize("on", ["local:0", "local:", "local:-1", "local:x"])
def test_a_number_of_local_workers_is_a_number(on: str) -> None:
    with pytest.raises(DeployError, match="expected tcp"):
        check_on(on, Access())


def test_the_command_line_says_the_same(expect_error: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = ("all", "--model", "edgevit_xxs")
    assert "or say --insecure" in expect_error(2, *model, "--on", "tcp://10.0.0.1:8786")
    assert "or say --insecure" in expect_error(2, "worker", "tcp://10.0.0.1:8786")
    assert "are for --on ADDRESS" in expect_error(2, *model, "--insecure")
    assert "are for --on ADDRESS" in expect_error(2, *model, "--needs", "arm64")
    assert "--resource x=2: expected a name without =" in expect_error(2, "worker", "tcp://127.0.0.1:1", "--resource", "y,x=2")
    monkeypatch.setattr("edgevit_deploy.fleet.connection.CONNECT_TIMEOUT_S", 0.5)
    for tokens in ((*model, "--on", "tcp://127.0.0.1:1"), ("worker", "tcp://127.0.0.1:1")):
        assert "no scheduler answers at tcp://127.0.0.1:1" in expect_error(3, *tokens)
