"""The iOS sample as text: what it says of itself agrees with what is in it. Its own tests run where there is a Swift compiler."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgevit_deploy.apps.samples import find_sample
from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.cli import run
from edgevit_deploy.parity.bounds import MAX_K, NOISE_CEILING
from edgevit_deploy.parity.integers import GOLDEN
from edgevit_deploy.spec import QUANTISED
from tests.helpers.bundles import edit_manifest
from tests.helpers.swift import SAMPLE, unclosed, undefined

SOURCES = {"coreml": SAMPLE / "Sources/EdgeViTCoreML", "onnx": SAMPLE / "Sources/EdgeViTONNX"}
CORE = SAMPLE / "Sources/EdgeViTCore"
SWIFT = sorted(SAMPLE.rglob("*.swift"))
PROJECT = SAMPLE / "EdgeViT.xcodeproj/project.pbxproj"
TRIED = {"made": "1", "resized": "300", "preprocessed": "12", "upright": "10", "top": "4"}


def _written(small_bundle: Path, tmp_path: Path, target: str) -> Path:
    bundle, out = shutil.copytree(small_bundle, tmp_path / "bundle"), tmp_path / "out"
    edit_manifest(bundle, lambda document: document.update(target=target))
    assert run(["app", "ios", str(bundle), "--output", str(out)]) == 0
    return out


@pytest.mark.parametrize("target", sorted(SOURCES))
def test_each_of_its_bundles_becomes_a_project(
    small_bundle: Path, tmp_path: Path, target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    out = _written(small_bundle, tmp_path, target)
    assert open_bundle(out / "bundle").target == target
    assert len(json.loads((out / "Tests/vectors.json").read_text())["resize"]) == 300
    assert (out / PROJECT.relative_to(SAMPLE)).is_file()
    said = " ".join(capfd.readouterr().err.split())
    assert find_sample("ios").backends[target].proof in said
    assert "never compiled here" in said
    assert "swift test" in said


def test_no_back_end_is_missing() -> None:
    sample, package = find_sample("ios"), (SAMPLE / "Package.swift").read_text()
    assert set(sample.backends) == set(SOURCES)
    for target, folder in SOURCES.items():
        (source,) = folder.glob("*.swift")
        assert f'public let target = "{target}"' in source.read_text()
        assert "public func openModel(_ file: URL, _ manifest: Manifest) throws -> any Model {" in source.read_text()
        assert f'"Sources/{folder.name}"' in package
    (version,) = re.findall(r'exact: "([\d.]+)"', package)
    assert sample.backends["onnx"].library.endswith(f" {version}")


def test_every_file_belongs_to_a_target_and_the_page_names_its_folder() -> None:
    package, page, project = (SAMPLE / "Package.swift").read_text(), (SAMPLE / "README.md").read_text(), PROJECT.read_text()
    folders = {path.parent.relative_to(SAMPLE).as_posix() for path in SWIFT} - {"."}
    assert folders == {
        "App",
        *(f"Sources/EdgeViT{name}" for name in ("Core", "CoreML", "ONNX")),
        *(f"Tests/EdgeViT{name}Tests" for name in ("Core", "Runtime")),
    }
    for folder in folders:
        assert f"`{folder}`" in page
        name = folder.partition("/")[2]
        assert f"path = {folder};" in project if folder == "App" else f'"{folder}"' in package or f'name: "{name}"' in package
    assert f'path: onnx ? "Sources/{SOURCES["onnx"].name}" : "Sources/{SOURCES["coreml"].name}"' in package


def test_the_core_knows_no_apple_framework() -> None:
    """CryptoKit is where it is, and elsewhere the hash is our own."""
    assert len(list(CORE.glob("*.swift"))) > 10
    for path in CORE.glob("*.swift"):
        imports = set(re.findall(r"^ *import (\S+)", path.read_text(), re.MULTILINE))
        assert imports <= {"Foundation", *(["CryptoKit"] if path.name == "Sha256.swift" else [])}, path.name
    assert "#if canImport(CryptoKit)\nimport CryptoKit\n" in (CORE / "Sha256.swift").read_text()


def test_its_rules_are_those_of_verify() -> None:
    text = (CORE / "Bounds.swift").read_text()
    numbers = dict(re.findall(r"^private let (\w+) = ([\d.]+)$", text, re.MULTILINE))
    assert float(numbers["maxMultiple"]) == MAX_K
    assert float(numbers["quantisedMultiple"]) == GOLDEN.k
    noise = {name: float(value) for name, value in re.findall(r'"(\w+)": ([\de.-]+)', text)}
    assert noise == {name: NOISE_CEILING[name] for name in ("fp32", "fp16", "bf16")}
    assert {NOISE_CEILING[name] for name in QUANTISED} == {float(numbers["quantisedNoise"])}
    (quantised,) = re.findall(r"quantisedPrecisions = \[(.*)\]", text)
    assert set(re.findall(r'"([\w-]+)"', quantised)) == set(QUANTISED)


@pytest.mark.parametrize("path", SWIFT, ids=lambda path: path.relative_to(SAMPLE).as_posix())
def test_no_bracket_or_quote_is_left_open(path: Path) -> None:
    assert unclosed(path.read_text()) == []


@pytest.mark.parametrize(
    ("right", "wrong"), [("throws {", "throws "), ('("a strip', "(a strip"), ("sums[0]", "sums[0"), ("(pixels", "(pixels]")]
)
def test_what_is_left_open_is_found(right: str, wrong: str) -> None:
    source = 'func resize(pixels: Int) throws {\n    print("a strip of \\(shown("x")) \\(a(1)) // no comment }", sums[0])\n}\n'
    assert unclosed(source) == []
    assert unclosed(source.replace(right, wrong, 1))


def test_the_project_file_defines_what_it_uses() -> None:
    project = PROJECT.read_text()
    assert undefined(project) == set()
    assert project.count("{") == project.count("}")
    assert project.count("(") == project.count(")")
    one = "ED6E00000000000000000013 /* App */,"
    assert undefined(project.replace(one, one.replace("13", "99"))) == {f"ED6E000000000000000000{place}" for place in (13, 99)}
    products = re.findall(r"productName = (EdgeViT\w+);", project)
    assert [name for name in products if f'.library(name: "{name}"' not in (SAMPLE / "Package.swift").read_text()] == []


def test_nothing_is_binary_hidden_or_long_in_it() -> None:
    for path in SAMPLE.rglob("*"):
        assert not path.name.startswith(".")
        assert path.is_dir() or path.suffix in {".swift", ".toml", ".md", ".pbxproj"}, path
        lines = [] if path.is_dir() else path.read_text().splitlines()
        assert len(lines) < 300, path
        assert max(map(len, lines), default=0) <= 130, path


@pytest.mark.slow
def test_its_own_tests_pass_and_nothing_differs_from_pillow(small_bundle: Path, tmp_path: Path) -> None:
    if shutil.which("swift") is None:
        pytest.skip("no Swift compiler: install it from swift.org, or run this on a Mac with Xcode")
    out = _written(small_bundle, tmp_path, "coreml")
    command = ["swift", "test", "-c", "release", "--filter", "EdgeViTCoreTests"]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"^(\w+): (\d+) tried, (\d+) different", done.stdout, re.MULTILINE)
    assert {kind: tried for kind, tried, _ in found} == TRIED
    assert {different for _, _, different in found} == {"0"}
