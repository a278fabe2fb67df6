"""The web sample's own tests, in Node.js: Pillow's bytes, and manifests that nobody should believe."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.apps.samples import SAMPLES
from edgevit_deploy.cli import run
from edgevit_deploy.parity.bounds import MAX_K, NOISE_CEILING
from edgevit_deploy.parity.integers import GOLDEN
from edgevit_deploy.spec import QUANTISED
from tests.helpers.apps import need
from tests.helpers.bundles import edit_manifest

WEB = SAMPLES / "web"


@pytest.fixture(scope="module")
def app(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app with a bundle that says it is ONNX: no runtime is asked."""
    folder = tmp_path_factory.mktemp("web")
    bundle = shutil.copytree(small_bundle, folder / "bundle")
    edit_manifest(bundle, lambda document: document.update(target="onnx"))
    assert run(["app", "web", str(bundle), "--output", str(folder / "app")]) == 0
    return folder / "app"


def _node_tests(app: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    need(shutil.which("node"), "Node.js")
    return subprocess.run(["node", "--test", *(tests or ("tests/",))], cwd=app, capture_output=True, text=True, check=False)


def test_its_own_tests_pass(app: Path) -> None:
    done = _node_tests(app)
    assert done.returncode == 0, done.stdout[-3000:]
    for title in ("300 resizes of 3 channels", "300 resizes of 4 channels", "12 whole pictures", "of equal outputs"):
        assert re.search(rf"^ok \d+ - .*{title}", done.stdout, re.MULTILINE), title


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("const a = -0.5;", "const a = -0.75;"),
        ("const HALF = 1 << (PRECISION_BITS - 1);", "const HALF = 0;"),
        (" > 2 * (picture.width - width)", " > 3 * (picture.width - width)"),
        ("share < 0 ? share - 0.5 : share + 0.5", "share + 0.5"),
    ],
)
def test_another_arithmetic_is_seen(app: Path, tmp_path: Path, before: str, after: str) -> None:
    changed = shutil.copytree(app, tmp_path / "app")
    source = (changed / "js/resize.js").read_text()
    assert before in source
    (changed / "js/resize.js").write_text(source.replace(before, after))
    assert "not ok" in _node_tests(changed, "tests/vectors.test.mjs").stdout


def test_the_offline_list_is_complete() -> None:
    """What the page loads before its service worker does would be missing without the server."""
    text = (WEB / "service-worker.js").read_text()
    (first, second) = re.findall(r"\.\.\.\[(.*?)\]\.map", text, re.DOTALL)
    listed = {f"{name}.js" for name in re.findall(r'"([^"]+)"', first + second)}
    assert listed == {path.relative_to(WEB / "js").as_posix() for path in (WEB / "js").rglob("*.js")}
    page = (WEB / "index.html").read_text()
    assert set(re.findall(r'(?:href|src)="([^"]+)"', page)) - {"js/app.js"} <= set(re.findall(r'"([\w.]+)"', text))


def test_its_bounds_are_those_of_verify() -> None:
    text = (WEB / "js/proof.js").read_text()

    def constant(name: str) -> Any:
        found = re.search(rf"const {name} = ([^;]+);", text)
        assert found
        return json.loads(re.sub(r"(\w+):", r'"\1":', found[1]))

    ceilings = constant("NOISE_CEILING")
    assert set(constant("QUANTISED")) == QUANTISED
    assert {precision: ceilings.get(precision, ceilings["quantised"]) for precision in NOISE_CEILING} == NOISE_CEILING
    assert (constant("MAX_K"), constant("GOLDEN_K")) == (MAX_K, GOLDEN.k)


def test_versions_are_the_pinned_ones() -> None:
    pinned = json.loads((WEB / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"[\d.]+", version) for version in pinned.values())
    assert f'VERSION = "{pinned["@litertjs/core"]}"' in (WEB / "js/backends/litert.js").read_text()
    sample = tomllib.loads((WEB / "sample.toml").read_text())
    assert pinned["onnxruntime-web"] in sample["backends"]["onnx"]["library"]
    assert pinned["@litertjs/core"] in sample["backends"]["litert"]["library"]


def test_nothing_of_the_page_is_elsewhere() -> None:
    """And nothing that a bundle says becomes markup."""
    for path in WEB.rglob("*"):
        if path.suffix in (".js", ".html", ".css"):
            text = path.read_text()
            assert not re.search(r"https?://(?!127\.0\.0\.1|www\.w3\.org/2000/svg)\w", text), path
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), path
