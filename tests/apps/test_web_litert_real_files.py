"""The web app in headless Chromium with LiteRT.js: golden data on one thread and on several, and a quantised file likewise."""

from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.shared import shared_bundle
from tests.helpers.web import SHOTS, served_by_node, visit, write_web_app

SMALL = ("--model", "edgevit_xxs", "--image-size", "64", "--num-classes", "16")
"""As the conformance tests convert it."""


@pytest.mark.slow
def test_golden_data_on_litert_js(tmp_path: Path) -> None:
    bundle = shared_bundle("litert", "fp32", *SMALL)
    SHOTS.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "gradient.png")
    app = write_web_app(bundle, tmp_path / "app")
    with served_by_node(app) as (url, end):
        seen = visit("tour", url, {"picture": str(tmp_path / "gradient.png"), "shots": str(SHOTS / "web-litert")}, cut=end)
    assert seen["ready"]["runtime"].startswith("LiteRT.js")
    assert "classifies nothing" in seen["ready"]["doubts"]
    assert seen["errors"] == []
    assert seen["after"]["offline"].startswith("yes: all ")
    for golden in (seen["golden"], seen["oneThread"], seen["offline"]):
        assert golden["verdict"] == "PASSED"
        assert 0 < float(golden["error"]) <= float(golden["bound"])
    print(f"LiteRT.js: {seen['golden']}")
