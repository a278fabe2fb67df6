"""The web app in headless Chromium with bundles that take bytes, in both runtimes."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.bundle.manifest import read_manifest
from tests.helpers.bundles import rehash
from tests.helpers.pictures import gradient, save
from tests.helpers.shared import shared_bundle
from tests.helpers.small import tiny_weights
from tests.helpers.web import served_by_node, visit, write_web_app

pytestmark = pytest.mark.nightly


@pytest.mark.parametrize(("target", "runtime"), [("onnx", "ONNX Runtime Web"), ("litert", "LiteRT.js")])
def test_a_file_of_bytes_is_given_bytes(target: str, runtime: str, tmp_path: Path) -> None:
    flags = ("--weights", str(tiny_weights()), "--image-size", "64", "--input", "uint8")
    bundle = shared_bundle(target, "fp32", *flags)
    seen = replayed(bundle, tmp_path / "right")
    print(f"{runtime}: {seen['first']}")
    assert seen["errors"] == []
    assert seen["first"]["runtime"].startswith(runtime)
    assert seen["first"]["verdict"] == "PASSED"
    other = shutil.copytree(bundle, tmp_path / "other")
    golden = other / "golden/input.u8"
    shape = read_manifest(other).golden.input.shape
    golden.write_bytes(np.frombuffer(golden.read_bytes(), np.uint8).reshape(shape)[:, ::-1].tobytes())  # BGR
    rehash(other)
    assert replayed(other, tmp_path / "wrong")["first"]["verdict"] == "FAILED"


def replayed(bundle: Path, folder: Path) -> dict[str, Any]:
    """What the page says of a picture and of the golden data."""
    app = write_web_app(bundle, folder / "app")
    with served_by_node(app) as (url, _):
        return visit("keyboard", url, {"picture": str(save(folder / "picture.png", gradient()))})
