"""Where tests find ARM64 kernels: on such a machine everywhere, elsewhere in the sysroot of `.ci/install-arm64`."""

import json
import os
from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.process.sysroot import EMULATOR, is_arm64

REQUIRED = "EDGEVIT_DEPLOY_REQUIRE_ARM64"
"""Where this is set, as in CI, a missing sysroot fails a test in place of skipping it."""

SYSROOT = Path(__file__).parents[2] / "build/arm64"
NATIVE = is_arm64()


def sysroot() -> Path:
    """The sysroot; on an ARM64 machine a folder that nobody looks at."""
    if NATIVE or (SYSROOT / EMULATOR).is_file():
        return SYSROOT
    line = "no ARM64 sysroot: make it by .ci/install-arm64"
    if os.environ.get(REQUIRED):
        pytest.fail(line)
    pytest.skip(line)


def verify(bundle: Path, capfd: pytest.CaptureFixture[str], root: Path | None = None) -> tuple[int, dict]:
    """Run the command on a bundle, and return its exit code and its document."""
    capfd.readouterr()
    code = run(["verify", str(bundle), "--on-arm64", str(root or sysroot()), "--json"])
    said = capfd.readouterr()
    (document,) = json.loads(said.out) if said.out else ({"error": said.err},)
    print(said.err)
    return code, document
