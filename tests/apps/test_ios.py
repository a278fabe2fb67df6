"""The iOS sample as text: what it says of itself agrees with what is in it, and its sources keep to the grammar."""

import json
import re
import shutil
from pathlib import Path

import pytest

from edgevit_deploy.apps.samples import find_sample
from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.cli import run
from edgevit_deploy.parity.bounds import MAX_K, NOISE_CEILING
from edgevit_deploy.parity.integers import GOLDEN
from edgevit_deploy.spec import QUANTISED
from tests.helpers.bundles import edit_manifest
from tests.helpers.swift import SAMPLE, faults_of, faults_of_project, read_project

NAMES = {"coreml": "EdgeViTCoreML", "coreai": "EdgeViTCoreAI", "onnx": "EdgeViTONNX"}
SOURCES = {target: SAMPLE / "Sources" / name for target, name in NAMES.items()}
CORE = SAMPLE / "Sources/EdgeViTCore"
SWIFT = sorted(SAMPLE.rglob("*.swift"))
PROJECT = SAMPLE / "EdgeViT.xcodeproj/project.pbxproj"


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
    assert "never built by Xcode" in said
    assert "swift test" in said


def test_no_back_end_is_missing() -> None:
    sample, package = find_sample("ios"), (SAMPLE / "Package.swift").read_text()
    assert set(sample.backends) == set(SOURCES)
    for target, folder in SOURCES.items():
        (source,) = folder.glob("*.swift")
        assert f'public let target = "{target}"' in source.read_text()
        assert "public func openModel(_ file: URL, _ manifest: Manifest) throws -> any Model {" in source.read_text()
        assert f'"{target}": "{folder.name}"' in package
    (version,) = re.findall(r'exact: "([\d.]+)"', package)
    assert sample.backends["onnx"].library.endswith(f" {version}")


def test_every_file_belongs_to_a_target_and_the_page_names_its_folder() -> None:
    package, page, project = (SAMPLE / "Package.swift").read_text(), (SAMPLE / "README.md").read_text(), PROJECT.read_text()
    folders = {path.parent.relative_to(SAMPLE).as_posix() for path in SWIFT} - {"."}
    assert folders == {
        "App",
        *(f"Sources/{name}" for name in ("EdgeViTCore", *NAMES.values())),
        *(f"Tests/EdgeViT{name}Tests" for name in ("Core", "Runtime")),
    }
    for folder in folders:
        assert f"`{folder}`" in page
        name = folder.partition("/")[2]
        assert f"path = {folder};" in project if folder == "App" else f'"{name}"' in package
    assert 'path: "Sources/\\(source)"' in package


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
def test_a_source_keeps_to_the_grammar(path: Path) -> None:
    source = path.read_text()
    assert faults_of(source) == []
    place = source.rindex("}")
    assert faults_of(source[:place] + source[place + 1 :])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("-> Int", "->"), ("func side", "func"), ("let count", "let"), ('"a strip', "a strip"), ("(1)", "(1")],
)
def test_what_is_no_swift_is_found(right: str, wrong: str) -> None:
    source = 'func side(_ pixels: Int) throws -> Int {\n    let count = shown(1)\n    throw Refused("a strip of \\(count)")\n}\n'
    assert faults_of(source) == []
    assert faults_of(source.replace(right, wrong, 1))


def _faults_of_the_project(text: str) -> list[str]:
    products = set(re.findall(r'\.library\(name: "(\w+)"', (SAMPLE / "Package.swift").read_text()))
    folders = {path.name for path in SAMPLE.iterdir() if path.is_dir()} | {find_sample("ios").bundle}
    return faults_of_project(text, folders=folders, products=products)


def test_the_project_has_all_that_it_refers_to() -> None:
    project, package = PROJECT.read_text(), (SAMPLE / "Package.swift").read_text()
    assert _faults_of_the_project(project) == []
    root, objects = read_project(project)
    (local,) = objects[root]["packageReferences"]
    assert objects[local]["relativePath"] == "."
    oldest = {value["buildSettings"].get("IPHONEOS_DEPLOYMENT_TARGET") for value in objects.values() if "buildSettings" in value}
    assert oldest - {None} == {f"{version}.0" for version in re.findall(r"\.iOS\(\.v(\d+)\)", package)}


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("ED6E00000000000000000013 /* App */,", "ED6E00000000000000000099,", "ED6E00000000000000000099 is not defined"),
        (
            "rootObject = ED6E00000000000000000000",
            "rootObject = ED6E00000000000000000098",
            "ED6E00000000000000000098 is not defined",
        ),
        ("\t\t\t\tED6E00000000000000000030 /* EdgeViT */,\n", "", "ED6E00000000000000000030 is not used"),
        (
            '\t\t\t\tED6E00000000000000000024 /* XCLocalSwiftPackageReference "." */,\n',
            "",
            "ED6E00000000000000000024 is not used",
        ),
        ("path = App;", "path = Application;", "there is no Application"),
        ("path = bundle;", "path = bundles;", "there is no bundles"),
        ("productName = EdgeViTRuntime;", "productName = EdgeViTCoreML;", "the package has no EdgeViTCoreML"),
        ("\t\t\t\tED6E00000000000000000033 /* Resources */,\n", "", "EdgeViT has not the three phases"),
        (
            "\t\t\t\tED6E00000000000000000023 /* EdgeViTRuntime in Frameworks */,\n",
            "",
            "EdgeViT does not link what it depends on",
        ),
        ("\t\t\t\tED6E00000000000000000011 /* bundle in Resources */,\n", "", "EdgeViT does not build each file once"),
        ("\t\t\t\tED6E00000000000000000052 /* Release */,\n", "", "configurations ['Debug']"),
    ],
)
def test_what_the_project_has_not_is_found(right: str, wrong: str, fault: str) -> None:
    project = PROJECT.read_text()
    assert right in project
    assert fault in _faults_of_the_project(project.replace(right, wrong, 1))


@pytest.mark.parametrize(("right", "wrong"), [("isa = PBXGroup;", "isa = PBXGroup"), ("{", ""), (" */,", " */"), ("}\n", "")])
def test_a_project_that_cannot_be_read_is_found(right: str, wrong: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        read_project(PROJECT.read_text().replace(right, wrong, 1))


def test_nothing_is_binary_hidden_or_long_in_it() -> None:
    for path in SAMPLE.rglob("*"):
        assert not path.name.startswith(".")
        assert path.is_dir() or path.suffix in {".swift", ".toml", ".md", ".pbxproj"}, path
        lines = [] if path.is_dir() else path.read_text().splitlines()
        assert len(lines) < 300, path
        assert max(map(len, lines), default=0) <= 130, path
