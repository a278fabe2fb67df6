"""The Android sample as a project: what it says of itself agrees with what is in it. What is compiled is in other files."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from edgevit_deploy.apps.samples import find_sample
from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.cli import run
from tests.helpers.bundles import edit_manifest
from tests.helpers.kotlin import APP, BACK_ENDS, CORE, SAMPLE


@pytest.mark.parametrize("target", BACK_ENDS)
def test_each_of_its_bundles_becomes_a_project(
    small_bundle: Path, tmp_path: Path, target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle, out = shutil.copytree(small_bundle, tmp_path / "bundle"), tmp_path / "out"
    edit_manifest(bundle, lambda document: document.update(target=target))
    assert run(["app", "android", str(bundle), "--output", str(out)]) == 0
    assert open_bundle(out / "app/src/main/assets/bundle").target == target
    assert (out / "core/src/vectors/resources/vectors.json").is_file()
    assert (out / f"app/src/{target}/kotlin").is_dir()
    said = " ".join(capfd.readouterr().err.split())
    assert find_sample("android").backends[target].proof in said
    assert "gradle wrapper" in said


def test_no_back_end_is_missing() -> None:
    sample, script = find_sample("android"), (SAMPLE / "app/build.gradle.kts").read_text()
    assert set(sample.backends) == set(BACK_ENDS)
    for target in BACK_ENDS:
        (source,) = (APP / target / "kotlin/edgevit/app").glob("*.kt")
        assert f'const val TARGET = "{target}"' in source.read_text()
        assert "fun openBackend(model: File, manifest: Manifest): Backend" in source.read_text()
        assert f'"{target}" -> ' in script
    names = {path.name for path in APP.iterdir()}
    assert names == {*BACK_ENDS, "main", "androidTest"}


def test_every_library_has_a_version_and_is_used() -> None:
    catalogue = tomllib.loads((SAMPLE / "gradle/libs.versions.toml").read_text())
    scripts = "\n".join(path.read_text() for path in SAMPLE.rglob("*.gradle.kts"))
    used = set(re.findall(r"\blibs\.((?:\w+\.)*\w+)", scripts))
    defined = {name.replace("-", ".") for name in catalogue["libraries"]}
    plugins = {f"plugins.{name.replace('-', '.')}" for name in catalogue["plugins"]}
    assert used == defined | plugins
    entries = [*catalogue["libraries"].values(), *catalogue["plugins"].values()]
    refs = {entry["version"]["ref"] for entry in entries if "version" in entry}
    assert refs == set(catalogue["versions"])
    without = {entry["module"] for entry in entries if "version" not in entry}
    assert all(module.startswith("androidx.compose.") for module in without), "the others have no list of versions"


def test_another_bundle_is_another_build() -> None:
    """Gradle's configuration cache is on, and watches files that are read by a provider; it was never run here."""
    assert "org.gradle.configuration-cache=true" in (SAMPLE / "gradle.properties").read_text()
    script = (SAMPLE / "app/build.gradle.kts").read_text()
    assert 'layout.projectDirectory.file("src/main/assets/bundle/manifest.json")' in script
    assert "parseText(providers.fileContents(manifest).asText.get())" in script
    assert not re.search(r"\.parse\(|\breadText\(|\breadBytes\(|\binputStream\(", script), "the cache would not see a change"


def test_the_camera_that_is_there_is_shown_only_where_it_may_be_used() -> None:
    """What is bound is tried in tests/apps/test_android_model.py; the screen itself was never compiled."""
    app = APP / "main/kotlin/edgevit/app"
    screen, camera = (app / "Screen.kt").read_text(), (app / "Camera.kt").read_text()
    assert "val permission = LocalContext.current.checkSelfPermission(Manifest.permission.CAMERA)" in screen
    assert "val camera = asked && permission == PackageManager.PERMISSION_GRANTED" in screen
    assert "if (camera) {\n                CameraPreview(" in screen
    assert "camera.bindAny(" in camera
    assert "bindToLifecycle" not in camera


def test_every_line_of_the_screen_is_there_and_is_used() -> None:
    used = {name for path in APP.rglob("*.kt") for name in re.findall(r"R\.string\.(\w+)", path.read_text())}
    defined = set(re.findall(r'<string name="(\w+)">', (APP / "main/res/values/strings.xml").read_text()))
    assert used == defined - {"app_name"}


def test_a_device_is_held_to_what_the_java_machine_is() -> None:
    for path in (APP / "androidTest/kotlin/edgevit/app/DeviceTest.kt", CORE / "test/kotlin/edgevit/core/VectorsTest.kt"):
        assert "assertTrue(tally.toString(), tally.holds)" in path.read_text()


def test_the_versions_that_it_names_are_those_that_it_is_built_with() -> None:
    versions = tomllib.loads((SAMPLE / "gradle/libs.versions.toml").read_text())["versions"]
    sample = find_sample("android")
    names = {"onnx": "onnxruntime", "litert": "litert", "executorch": "executorch"}
    for target, name in names.items():
        assert sample.backends[target].library.endswith(f" {versions[name]}")


def test_the_platform_free_part_knows_no_android() -> None:
    sources = [path for path in CORE.rglob("*.kt") if "test" not in path.relative_to(CORE).parts]
    assert len(sources) > 10
    for path in sources:
        imports = re.findall(r"^import (\S+)", path.read_text(), re.MULTILINE)
        strange = [name for name in imports if not name.startswith(("java.", "kotlin.", "com.google.gson.", "edgevit.core."))]
        assert not strange, f"{path.name} imports {strange}"


def test_nothing_is_binary_hidden_or_long_in_it() -> None:
    for path in SAMPLE.rglob("*"):
        assert not path.name.startswith(".")
        assert path.is_dir() or path.suffix in {".kt", ".kts", ".toml", ".xml", ".md", ".properties", ".cpp", ".txt"}, path
        lines = [] if path.is_dir() else path.read_text().splitlines()
        assert len(lines) < 300, path
        assert max(map(len, lines), default=0) <= 130, path
