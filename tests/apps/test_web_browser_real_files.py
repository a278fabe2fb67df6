"""The web app in headless Chromium, with ONNX Runtime Web: clicks, a real upload, golden data, no server, hostile bundles."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.data.preprocess import normalise, read_pixels
from edgevit_deploy.parity.gate import top_classes
from tests.helpers import trained
from tests.helpers.bundles import edit_manifest, rehash
from tests.helpers.evaluation import write_labels
from tests.helpers.shared import made_once, shared_bundle
from tests.helpers.web import SHOTS, served, served_by_node, visit, write_web_app

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle() -> Path:
    """Of the trained network, as other tests convert it; for reading only."""
    labels = made_once("trained-labels", lambda folder: write_labels(folder / "labels.txt")) / "labels.txt"
    return shared_bundle("onnx", "fp32", "--weights", str(trained.WEIGHTS), "--image-size", "64", "--labels", str(labels))


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.datasets import load_sample_image

    path = tmp_path_factory.mktemp("pictures") / "china.jpg"
    Image.fromarray(load_sample_image("china.jpg")).save(path, quality=92)
    return path


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


@pytest.fixture
def look(copy: Path, tmp_path: Path) -> Callable[..., list[Any]]:
    """Look at the pages of a bundle that was changed, in each of several ways, after `app` took it."""

    def looked(*changes: Callable[[Path], None]) -> list[Any]:
        with ExitStack() as servers:
            urls = []
            for number, change in enumerate(changes):
                app = write_web_app(copy, tmp_path / f"app-{number}")
                change(app / "bundle")
                urls.append(servers.enter_context(served(app)))
            seen = visit("look", urls[0], {"more": urls[1:]})
        assert seen["errors"] == []
        assert not any("passwd" in request for request in seen["requests"])
        found: list[Any] = seen["looked"]
        return found

    return looked


def python_answer(bundle: Path, picture: Path) -> list[tuple[str, float]]:
    """Return the five best classes by Pillow and ONNX Runtime, with probabilities."""
    import onnxruntime

    manifest = open_bundle(bundle)
    pixels = normalise(read_pixels(picture, manifest.preprocess)[None], manifest.preprocess, "tensor")
    session = onnxruntime.InferenceSession(str(bundle / manifest.path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": pixels})
    powers = np.exp(logits.astype(np.float64) - logits.max())
    (best,) = top_classes(powers / powers.sum(), (bundle / "labels.txt").read_text().splitlines())
    return best


def test_everything_with_the_mouse_and_then_without_the_server(bundle: Path, photograph: Path, tmp_path: Path) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    with served_by_node(write_web_app(bundle, tmp_path / "app")) as (url, end):
        seen = visit("tour", url, {"picture": str(photograph), "shots": str(SHOTS / "web-onnx")}, cut=end)
    assert seen["errors"] == []
    assert seen["ready"]["isolated"] == "yes"
    assert seen["ready"]["verdict"] == "not run yet"
    assert seen["ready"]["runtime"].startswith("ONNX Runtime Web")
    assert seen["ready"]["doubts"].strip().startswith("Proven where it was converted")
    expected = python_answer(bundle, photograph)
    assert seen["answer"]["labels"] == [label for label, _ in expected]
    assert seen["answer"]["shares"] == [f"{100 * share:.1f} %" for _, share in expected]
    for golden in (seen["golden"], seen["oneThread"], seen["offline"]):
        assert golden["verdict"] == "PASSED"
        assert 0 < float(golden["error"]) <= float(golden["bound"])
    atol = json.loads((bundle / "manifest.json").read_text())["parity"]["diffs"][0]["tolerance"]["atol"]
    assert atol < float(seen["golden"]["bound"]) < 1.5 * atol
    assert seen["oneThread"]["threads"] == "1"
    assert seen["after"]["offline"].startswith("yes: all ")
    assert seen["offlineAnswer"]["labels"] == seen["answer"]["labels"]
    assert seen["overflow"] == 0, "at 390 pixels nothing must stick out"
    assert seen["shifted"] < 0.01
    assert all(
        (SHOTS / f"web-onnx-{name}.png").stat().st_size > 10_000 for name in ("desktop", "desktop-dark", "390", "390-dark")
    )
    print(f"ONNX Runtime Web: {seen['golden']}")


@pytest.fixture(scope="module")
def url(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as `demo` serves it."""
    with served(write_web_app(bundle, tmp_path_factory.mktemp("web") / "app")) as address:
        yield address


def test_the_keyboard_is_enough(url: str, bundle: Path, photograph: Path) -> None:
    seen = visit("keyboard", url, {"picture": str(photograph)})
    assert seen["errors"] == []
    assert seen["outlines"] == ["solid"] * 3, "where the keyboard is must be seen"
    assert seen["first"]["labels"][0] == python_answer(bundle, photograph)[0][0]
    assert seen["first"]["verdict"] == "PASSED"
    assert seen["focused"] == "device"
    assert seen["page"]["verdict"] == "not run yet", "another runtime has not passed yet"
    assert seen["live"] == "polite"


def test_dropped_pasted_and_filmed(url: str, bundle: Path, photograph: Path, tmp_path: Path) -> None:
    Image.new("1", (66_000, 600), 1).save(tmp_path / "large.png")  # a canvas has at most 65,535 columns
    seen = visit("ways", url, {"picture": str(photograph), "large": str(tmp_path / "large.png")})
    first = python_answer(bundle, photograph)[0][0]
    assert (seen["drop"], seen["paste"]) == (first, first)
    assert seen["text"]["line"].startswith("This browser cannot read that file as a picture; give")
    assert seen["large"]["line"].startswith("A picture of 66000 x 600 pixels ")
    for gone in (seen["text"], seen["large"], seen["last"], seen["off"]):
        assert not "".join((*gone["labels"], gone["times"])).strip(), "what was found is of another picture"
    assert seen["twice"] == "false"
    assert seen["refused"].startswith("The camera was refused; allow it")
    assert seen["camera"]["labels"][0].strip()
    assert seen["errors"] == []


def _with_markup(bundle: Path) -> None:
    labels = (bundle / "labels.txt").read_text().splitlines()
    labels[:] = [f"<img src=x onerror=\"document.title='owned'\">{label}\u202eevil" for label in labels]
    (bundle / "labels.txt").write_text("\n".join(labels) + "\n")
    rehash(bundle)
    edit_manifest(bundle, lambda document: document["parity"].update(status="built, not run"))


def test_labels_are_text(copy: Path, photograph: Path, tmp_path: Path) -> None:
    _with_markup(copy)
    with served(write_web_app(copy, tmp_path / "app")) as url:
        seen = visit("keyboard", url, {"picture": str(photograph)})
    assert "Unproven" in seen["first"]["doubts"]
    assert seen["first"]["title"] == "EdgeViT XXS"
    assert all(
        re.fullmatch(r"<img src=x onerror=\"document.title='owned'\">[\w-]+ evil", label) for label in seen["first"]["labels"]
    )
    assert seen["elements"] == ["LI", "SPAN"]
    assert seen["errors"] == []


def test_golden_data_of_another_network_fail(copy: Path, photograph: Path, tmp_path: Path) -> None:
    path = copy / "golden/output.f32"
    values = np.fromfile(path, "<f4")
    values[3] += 0.1
    values.tofile(path)
    rehash(copy)
    edit_manifest(copy, lambda document: document["parity"]["diffs"][0]["tolerance"].update(atol=1e30, measure="rms"))
    with served(write_web_app(copy, tmp_path / "app")) as url:
        seen = visit("keyboard", url, {"picture": str(photograph)})
    assert seen["first"]["verdict"] == "FAILED"
    assert seen["first"]["golden-measure"] == "largest difference"
    assert abs(float(seen["first"]["golden-error"]) - 0.1) < 1e-4
    assert float(seen["first"]["golden-bound"]) < 0.01, "a bundle does not grant itself its bound"


def _edited(change: Callable[[dict], Any]) -> Callable[[Path], None]:
    return lambda bundle: edit_manifest(bundle, change)


def _flip_a_bit(bundle: Path) -> None:
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(data)


HOSTILE: dict[str, Callable[[Path], None]] = {
    "leaves the bundle; do not use this bundle": _edited(lambda document: document.update(path="../../../etc/passwd")),
    '"/etc/passwd" leaves the bundle': _edited(lambda document: document["files"][0].update(path="/etc/passwd")),
    "model.onnx is not what was recorded (another sha256)": _flip_a_bit,
    "has more bytes than the 10 on record": _edited(lambda document: document["files"][-1].update(bytes=10)),
    "its schema version is 9": _edited(lambda document: document.update(schema_version=9)),
    "has the shape [1,3,96,96]": _edited(lambda document: document["inputs"][0].update(shape=[1, 3, 96, 96])),
    "labels.txt has 0 bytes": lambda bundle: (bundle / "labels.txt").write_bytes(b""),
}


def test_hostile_bundles_are_refused(look: Callable[..., list[Any]]) -> None:
    for line, page in zip(HOSTILE, look(*HOSTILE.values()), strict=True):
        assert line in page["status"]
        assert page["status"].startswith("This bundle is refused: ")
        assert page["enabled"] == 0


@pytest.mark.nightly
def test_an_int8_file_is_judged_by_its_own_measure(photograph: Path, tmp_path: Path) -> None:
    flags = ("--weights", str(trained.WEIGHTS), "--image-size", "64", "--calibration", "synthetic")
    with served(write_web_app(shared_bundle("onnx", "int8", *flags), tmp_path / "app")) as url:
        seen = visit("keyboard", url, {"picture": str(photograph)})
    assert "Decisions not judged" in seen["first"]["doubts"]
    assert seen["first"]["verdict"] == "PASSED"
    assert seen["first"]["golden-measure"].startswith("root mean square")


@pytest.mark.nightly
def test_golden_data_on_webgpu_in_software(bundle: Path, tmp_path: Path) -> None:
    with served(write_web_app(bundle, tmp_path / "app")) as url:
        seen = visit("gpu", url)
    assert seen["page"]["runtime"].endswith("WebGPU")
    assert seen["verdict"] == "PASSED"


@pytest.mark.nightly
def test_onnx_runtimes_own_format(photograph: Path, tmp_path: Path) -> None:
    bundle = shared_bundle("onnx", "fp32", "--weights", str(trained.WEIGHTS), "--image-size", "64", "--format", "ort")
    with served(write_web_app(bundle, tmp_path / "app")) as url:
        seen = visit("keyboard", url, {"picture": str(photograph)})
    assert seen["errors"] == []
    assert seen["first"]["verdict"] == "PASSED"
    assert seen["first"]["labels"][0] == python_answer(bundle, photograph)[0][0]
