"""What tests of the sample apps need beside Python: compilers, headers and browsers, which `.ci/install-apps` installs."""

import os

import pytest

REQUIRED = "EDGEVIT_DEPLOY_REQUIRE_APPS"
"""Where this is set, as in CI, what is missing fails a test in place of skipping it."""


def need(there: object, what: str) -> None:
    """Skip the test, or fail it where the tools of the apps are required, if something is not there."""
    if there:
        return
    line = f"no {what}: install it by .ci/install-apps"
    if os.environ.get(REQUIRED):
        pytest.fail(line)
    pytest.skip(line)
