"""The sample in C++: its preprocessing is Pillow's, and each back end that is built replays the golden data of a real bundle."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.apps import samples
from edgevit_deploy.bundle.manifest import ARITHMETIC_ONLY, read_manifest
from edgevit_deploy.data.preprocess import normalise, read_pixels
from runtimes.openvino import OpenVinoSession
from tests.conformance.test_schema_1 import unpack
from tests.helpers import cpp
from tests.helpers.bundles import rehash
from tests.helpers.evaluation import pictures
from tests.helpers.pictures import gradient, save

pytestmark = pytest.mark.slow


def test_its_preprocessing_has_no_difference_to_pillow(tmp_path: Path) -> None:
    """ctest runs the vectors, and the golden data of the bundle that the project was written for."""
    for name in ("CTestTestfile.cmake", "CMakeCache.txt"):  # it writes its logs beside them, and all tests share that folder
        shutil.copy(cpp.project() / "build" / name, tmp_path)
    done = subprocess.run(["ctest", "--test-dir", tmp_path, "-V"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    for vectors in ("resize: 300 of 300", "pictures: 12 of 12", "upright: 10 of 10", "top: 5 of 5"):
        assert f"{vectors} without a difference" in done.stdout
    assert "golden logits: largest error" in done.stdout


def test_vectors_that_differ_are_seen(tmp_path: Path) -> None:
    document = json.loads((cpp.project() / "tests/vectors.json").read_text())
    document["resize"][5]["resized"][0] += 1
    document["pictures"][0]["preprocess"]["mean"][0] += 1e-7
    document["top"][1]["top"].reverse()
    document["upright"][3]["orientation"] = 2
    (tmp_path / "vectors.json").write_text(json.dumps(document))
    done = subprocess.run([cpp.project() / "build/edgevit-vectors", tmp_path / "vectors.json"], capture_output=True, text=True)
    assert done.returncode == 1
    for line in ("resize: 299 of 300", "pictures: 11 of 12", "top: 4 of 5", "upright: 9 of 10"):
        assert line in done.stdout


@pytest.mark.parametrize("kind", ["resize", "pictures", "upright", "top"])
def test_no_vectors_show_nothing(tmp_path: Path, kind: str) -> None:
    document = json.loads((cpp.project() / "tests/vectors.json").read_text())
    document[kind] = []
    (tmp_path / "vectors.json").write_text(json.dumps(document))
    done = subprocess.run([cpp.project() / "build/edgevit-vectors", tmp_path / "vectors.json"], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{kind}: 0 of 0" in done.stdout


def _replayed(bundle: Path, within: Path) -> dict:
    done = cpp.edgevit(bundle, "--golden", "--repeat", 3, "--json", within=within)
    assert done.returncode == 0, done.stderr + done.stdout
    document = json.loads(done.stdout)
    (golden,) = document["golden"]
    assert 0 < golden["error"] <= golden["bound"]
    assert document["latency_ms"] > 0
    print(f"{document['title']}, {document['runtime']}: error {golden['error']:.3g}, bound {golden['bound']:.3g}")
    return document


@pytest.mark.parametrize("target", ["onnx", "openvino", "executorch", "litert"])
def test_a_back_end_replays_golden_data(target: str) -> None:
    document = _replayed(cpp.tiny_bundle(target), cpp.project())
    assert document["unproven"] == document["substitute"] == ""
    assert document["verdict"] == "passed"
    assert samples.find_sample("cpp").backends[target].library.split()[0] in document["runtime"]


@pytest.mark.nightly
def test_the_lite_interpreter_replays_golden_data() -> None:
    """At night, since PyTorch's headers take half a minute to compile, and the program has to be built once more for it."""
    _replayed(cpp.tiny_bundle("torchscript"), cpp.torchscript_project())
    done = cpp.edgevit(cpp.tiny_bundle("onnx"), "--golden", within=cpp.torchscript_project())
    assert done.returncode == 2
    assert "this program was built for torchscript" in done.stderr


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("target", "precision", "size", "flags"),
    [
        ("onnx", "fp16", "64", ()),
        ("onnx", "int8", "64", ("--calibration", "PICTURES")),
        ("onnx", "fp32", "64", ("--batch", "dynamic")),
        ("onnx", "fp32", "dynamic", ()),
        ("openvino", "bf16", "64", ()),
        ("openvino", "fp32", "96x64", ("--input", "image")),
        *((target, "fp32", "64", ("--input", "uint8")) for target in ("onnx", "openvino", "litert", "executorch")),
        ("litert", "int8", "64", ("--calibration", "PICTURES")),
        ("executorch", "int8", "64", ("--calibration", "PICTURES")),
    ],
)
def test_other_precisions_and_forms(target: str, precision: str, size: str, flags: tuple[str, ...]) -> None:
    if (target, precision) == ("openvino", "bf16") and not OpenVinoSession.executes("bf16"):
        pytest.skip("this CPU does not compute in bfloat16")
    words = [str(pictures(4)) if word == "PICTURES" else word for word in flags]
    document = _replayed(cpp.tiny_bundle(target, precision, *words, size=size), cpp.project())
    (golden,) = document["golden"]
    assert golden["measure"] == ("rms" if precision == "int8" else "largest")
    assert document["verdict"] == (ARITHMETIC_ONLY if precision == "int8" else "passed")
    assert document["unproven"] == ""
    assert f"{target} {precision}" in document["title"]


def test_a_bundle_of_schema_1(tmp_path: Path) -> None:
    _replayed(unpack("onnx", tmp_path), cpp.project())


def test_top_5_are_those_of_python(tmp_path: Path) -> None:
    bundle = cpp.tiny_bundle("onnx")
    manifest = read_manifest(bundle)
    picture = save(tmp_path / "picture.png", gradient())
    done = cpp.edgevit(bundle, picture, "--json", "--repeat", 0)
    assert done.returncode == 0, done.stderr
    import onnxruntime

    session = onnxruntime.InferenceSession(bundle / manifest.path)
    pixels = normalise(read_pixels(picture, manifest.preprocess)[None], manifest.preprocess, manifest.conversion.takes)
    (logits,) = session.run(None, {"input": pixels})
    shares = np.exp(logits[0] - logits[0].max(), dtype=np.float64)
    order = np.argsort(-logits[0], kind="stable")[:5]
    document = json.loads(done.stdout)
    assert document["latency_ms"] is None
    top = document["pictures"][0]["top"]
    assert [guess["class"] for guess in top] == order.tolist()
    assert [guess["label"] for guess in top] == [f"class {place}" for place in order]
    assert [guess["probability"] for guess in top] == pytest.approx((shares / shares.sum())[order], abs=1e-6)


def test_wrong_numbers_are_a_bad_verdict(tmp_path: Path) -> None:
    """The negative control: golden outputs that another network would give."""
    bundle = shutil.copytree(cpp.tiny_bundle("onnx"), tmp_path / "bundle")
    path = bundle / "golden/output.f32"
    values = np.fromfile(path, "<f4")
    values[3] += 1e-3
    values.tofile(path)
    rehash(bundle)
    done = cpp.edgevit(bundle, "--golden")
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert cpp.edgevit(cpp.tiny_bundle("onnx"), "--golden").returncode == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "no bundle given"),
        (("BUNDLE",), "nothing to do"),
        (("BUNDLE", "--golden", "--repeat"), "--repeat wants a value"),
        (("BUNDLE", "--golden", "--repeat", "-1"), "expected a number from 0"),
        (("BUNDLE", "--fast"), "--fast is no flag"),
        (("BUNDLE", "--golden", "--backend", "ncnn"), "is onnx and not ncnn"),
        (("BUNDLE", "absent.jpg"), "absent.jpg: no such file"),
        (("absent", "--golden"), "no manifest.json in it"),
    ],
)
def test_wrong_use(words: tuple[str, ...], line: str) -> None:
    done = cpp.edgevit(*(cpp.project() / "bundle" if word == "BUNDLE" else word for word in words))
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_the_bundles_runtime_is_chosen(tmp_path: Path) -> None:
    """Without a word CMake builds the one that the bundle needs, and it says what is missing."""
    chosen = cpp.configure(cpp.project(), tmp_path / "chosen")
    assert "back end onnx: built" in chosen.stdout
    assert "openvino" not in chosen.stdout
    missing = cpp.configure(cpp.project(), tmp_path / "missing", "-DEDGEVIT_BACKENDS=ncnn")
    assert missing.returncode != 0
    assert "ncnn not found; build and install it" in " ".join(missing.stderr.split())
    both = cpp.configure(cpp.project(), tmp_path / "both", "-DEDGEVIT_BACKENDS=torchscript;executorch")
    assert both.returncode != 0
    assert "cannot be in one program" in " ".join(both.stderr.split())


def test_another_wheel_of_onnx_runtime_is_found_at_the_next_configure(tmp_path: Path) -> None:
    """An upgrade takes away the library that a link points to, and brings one of another name."""
    wheel, build = tmp_path / "onnxruntime", tmp_path / "build"
    (wheel / "capi").mkdir(parents=True)
    for version in ("1.31.0", "1.32.0"):
        library = wheel / f"capi/libonnxruntime.so.{version}"
        library.touch()
        found = cpp.configure(cpp.project(), build, "-DEDGEVIT_BACKENDS=onnx", f"-DONNXRUNTIME_WHEEL={wheel}")
        assert "back end onnx: built" in found.stdout
        assert (build / "onnxruntime/libonnxruntime.so.1").resolve(strict=True) == library
        library.unlink()


def test_a_library_that_was_given_is_kept(tmp_path: Path) -> None:
    given = tmp_path / "libonnxruntime.so"
    given.touch()
    found = cpp.configure(cpp.project(), tmp_path / "build", "-DEDGEVIT_BACKENDS=onnx", f"-DONNXRUNTIME_LIBRARY={given}")
    assert "back end onnx: built" in found.stdout
    assert not (tmp_path / "build/onnxruntime").exists()
