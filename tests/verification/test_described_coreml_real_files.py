"""`verify` of an ML Program that says something else of itself than it did, hashed again as whoever changed it would."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.formats.coreml import DATA_FOLDER, MODEL_PATH, PREPROCESS, read_package
from tests.conformance.test_targets import bundle_of
from tests.helpers.bundles import rehash

DEEP = "[" * 20_000 + "]" * 20_000


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_of("coreml", "fp32"), tmp_path / "coreml-fp32"))


def change(bundle: Path, old: str, new: str) -> None:
    """Change the text with the preprocessing, or take it out."""
    package = bundle / "model.mlpackage"
    spec: Any = read_package(package)
    own = spec.description.metadata.userDefined
    assert old in own[PREPROCESS]
    own[PREPROCESS] = own[PREPROCESS].replace(old, new, 1)
    if not new:
        del own[PREPROCESS]
    (package / DATA_FOLDER / MODEL_PATH).write_bytes(spec.SerializeToString(deterministic=True))
    rehash(bundle)


def test_the_control_what_it_says_is_verified(bundle: Path) -> None:
    change(bundle, "{", '{"of a later version": 1, ')
    assert run(["verify", str(bundle)]) == 0


@pytest.mark.parametrize(
    ("message", "old", "new"),
    [
        ("says within itself that pixels are normalised by mean (127.5, ", "[0.485, ", "[0.5, "),
        ("does not say within itself how pixels are normalised, the manifest records that it did", "{", ""),
        ("its own preprocessing cannot be read (", "{", '{"x": ' + DEEP + ", "),
        ("its own preprocessing cannot be read (a name is there twice)", "{", '{"mean": [0, 0, 0], '),
    ],
    ids=["another mean", "nothing", "deep", "twice"],
)
def test_a_package_that_says_something_else_is_refused(
    bundle: Path, expect_error: Callable[..., str], message: str, old: str, new: str
) -> None:
    change(bundle, old, new)
    assert message in expect_error(1, "verify", bundle)
