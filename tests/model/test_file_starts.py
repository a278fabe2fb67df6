"""Files that are no checkpoints, or too large for one, are refused by their start and size: nothing of them is hashed."""

import os
from pathlib import Path

import pytest

from edgevit_deploy.model import containers
from tests.helpers.checkpoints import refusal, saved, seeded_state

STARTS = {"zeros": b"", "zip": b"PK\x03\x04", "pickle": b"\x80\x02", "safetensors": b"\0" * 8 + b"{"}


@pytest.fixture(autouse=True)
def no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_sha256", lambda file: pytest.fail("hashed"))


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_file_of_a_terabyte_is_refused(start: bytes, tmp_path: Path) -> None:
    """Made sparse, it takes no room on the disk, and all of it would be read."""
    path = tmp_path / "weights.pth"
    path.write_bytes(start)
    os.truncate(path, 2**40)
    assert refusal(path).startswith("1099511627776 bytes, expected at most 17179869184")


@pytest.mark.parametrize("start", [b"\0" * 64, b"\x80\x02K\x01.", b"text"], ids=["zeros", "pickle", "text"])
def test_what_is_no_checkpoint_is_refused(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(start)
    assert refusal(tmp_path / "weights.pth")


def test_the_control_a_checkpoint_is_hashed(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="hashed"):
        refusal(saved(seeded_state(), tmp_path / "weights.pth"))
