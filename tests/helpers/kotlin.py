"""A Kotlin compiler and a Java machine, for the sources of the Android sample that need no Android."""

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgevit_deploy.apps.samples import SAMPLES
from tests.helpers.apps import need
from tests.helpers.shared import made_once

ROOT = Path(__file__).parents[2]
SAMPLE = SAMPLES / "android"
CORE, APP = SAMPLE / "core/src", SAMPLE / "app/src"
BACK_ENDS = ("onnx", "litert", "executorch", "ncnn")

TOOLS = ROOT / "build/apps"
COMPILER = TOOLS / "kotlin/node_modules/kotlin-compiler"
STANDARD_LIBRARY = COMPILER / "lib/kotlin-stdlib.jar"
GSON, JUNIT, HAMCREST = (Path("/usr/share/java") / f"{name}.jar" for name in ("gson", "junit4", "hamcrest"))


def compile_kotlin(
    sources: Iterable[Path], jar: Path, classpath: Sequence[Path], *flags: str
) -> subprocess.CompletedProcess[str]:
    """Compile sources into a jar, or say on stderr why they are none."""
    need(COMPILER.is_dir(), "Kotlin compiler")
    need(all(path.exists() for path in (GSON, JUNIT, HAMCREST)), "gson and JUnit for Java")
    command = [
        *("java", "-Xmx1g", "-cp", str(COMPILER / "lib/kotlin-preloader.jar"), "org.jetbrains.kotlin.preloading.Preloader"),
        *("-cp", str(COMPILER / "lib/kotlin-compiler.jar"), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"),
        *("-kotlin-home", str(COMPILER), "-no-reflect", "-jvm-target", "11", "-Werror", *flags),
        *("-cp", ":".join(map(str, classpath)), "-d", str(jar), *map(str, sources)),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def run_java(
    main: str, classpath: Sequence[Path], *arguments: object, options: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a class of a jar."""
    command = ["java", "-Xmx1g", *options, "-cp", ":".join(map(str, classpath)), main, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def core_with_tests() -> list[Path]:
    """Return a class path with the platform-free part and its tests, compiled once for all tests of a run."""

    def make(folder: Path) -> None:
        sources = [CORE / "main/kotlin", CORE / "test/kotlin", CORE / "vectors/kotlin"]
        done = compile_kotlin(sources, folder / "core.jar", [GSON, JUNIT])
        assert done.returncode == 0, done.stderr

    return [made_once("android-core", make) / "core.jar", GSON, JUNIT, HAMCREST, STANDARD_LIBRARY]
