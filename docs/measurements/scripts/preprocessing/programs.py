"""Ways that are programs of their own: the samples' in C++, Kotlin and a browser, stb, and what pages do."""

import base64
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgevit_deploy.apps.samples import SAMPLES
from edgevit_deploy.apps.serve import serving
from edgevit_deploy.outside.text import json_bytes
from preprocessing.ways import Found, Job, Pixels, Tool

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[4]
INSTALLED = ROOT / "build" / "apps"
"""Where `.ci/install-apps` puts what is not the system's."""

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
PICA = ROOT / "build" / "preprocessing" / "node_modules" / "pica"

CPP_SOURCES = [
    SAMPLES / "cpp/src" / f"{name}.cpp" for name in ("jpeg", "orientation", "picture", "png", "preprocess", "resize", "text")
]
OURS_CPP, OURS_KOTLIN, OURS_JAVASCRIPT = "ours: C++", "ours: Kotlin on the JVM", "ours: JavaScript in Chromium"
STB, STB_DECODED = "stb_image, stb_image_resize", "stb_image, our resize"
GSON = Path("/usr/share/java/gson.jar")
KOTLIN = INSTALLED / "kotlin/node_modules/kotlin-compiler"
PAGES = [
    f"{what}, {quality}"
    for what in ("drawImage of an img", "drawImage of a bitmap", "createImageBitmap")
    for quality in ("low", "medium", "high")
]


def done(command: Sequence[object]) -> str:
    """Run a command that must succeed, and return what it says."""
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, command))[:200]} failed:\n{result.stderr[-3000:]}")
    return result.stdout


def absent(tools: dict[str, object]) -> str:
    """Return the names of those that are not there."""
    return ", ".join(name for name, there in tools.items() if not there)


def lines_of(command: Sequence[object], count: int, **environment: str) -> Iterator[str]:
    """Yield so many lines of a command as it says them; it must say them and no more, and end well."""
    words = [*map(str, command)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        assert process.stdout is not None
        for number in range(count):
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{' '.join(words)[:200]} ended after {number} of {count} pictures")
            yield line.strip()
        if process.stdout.read(1):
            raise SystemExit(f"{' '.join(words)[:200]} said more than {count} lines, one for each picture")
        if status := process.wait():
            raise SystemExit(f"{' '.join(words)[:200]} ended with {status} after the last of {count} pictures")


def through(program: Sequence[object], jobs: Sequence[Job], folder: Path, *more: str) -> Iterator[Pixels | str]:
    """Let a program do jobs (jobs.h), and yield what it made of each."""
    folder.mkdir()
    sizes = [(*job.preprocess.resize, *job.preprocess.crop, job.picture.orientation, job.picture.path) for job in jobs]
    (folder / "list").write_text("".join(" ".join(map(str, fields)) + "\n" for fields in sizes))
    lines = lines_of([*program, folder / "list", folder, *more], len(jobs))
    for number, (job, line) in enumerate(zip(jobs, lines, strict=True)):
        refused = line.removeprefix(f"{job.picture.path}: ")
        yield refused or np.fromfile(folder / f"{number}.rgb", np.uint8).reshape(*job.preprocess.crop, 3)


# C++


def compiled(source: str, folder: Path, sources: Sequence[Path], libraries: Sequence[str]) -> Path:
    """Compile a program with the sample's own sources, as its CMakeLists.txt does."""
    folder.mkdir(exist_ok=True)
    program = folder / Path(source).stem
    flags = ("-std=c++17", "-O3", "-ffp-contract=off", "-w", f"-I{SAMPLES / 'cpp/src'}", f"-I{HERE}")
    done(["c++", *flags, HERE / source, *sources, *libraries, "-o", program])
    return program


def _run_cpp(jobs: Sequence[Job], folder: Path) -> Iterator[Found]:
    program = compiled("ours.cpp", folder, CPP_SOURCES, ["-ljpeg", "-lpng"])
    return ({OURS_CPP: found} for found in through([program], jobs, folder / "ours-out"))


def header(name: str) -> bool:
    return any((Path(place) / name).exists() for place in ("/usr/include", "/usr/local/include"))


def compiler() -> str:
    return done(["c++", "--version"]).splitlines()[0]


CPP = Tool(
    ways=(OURS_CPP,),
    missing=lambda: absent({"g++": shutil.which("c++"), "libjpeg-dev": header("jpeglib.h"), "libpng-dev": header("png.h")}),
    run=_run_cpp,
    version=compiler,
)


def _run_stb(jobs: Sequence[Job], folder: Path) -> Iterator[Found]:
    sources = [source for source in CPP_SOURCES if source.stem in ("preprocess", "resize")]
    program = compiled("stb.cpp", folder, sources, ["-lm"])
    all_of_stb, decoded = through([program], jobs, folder / "out"), through([program], jobs, folder / "decoded-out", "ours")
    return ({STB: one, STB_DECODED: other} for one, other in zip(all_of_stb, decoded, strict=True))


def _stb_version() -> str:
    return done(["sh", "-c", "dpkg-query -W -f '${Package} ${Version}' libstb-dev 2>/dev/null || echo stb"])


STB_TOOL = Tool(
    ways=(STB, STB_DECODED),
    missing=lambda: absent({"g++": shutil.which("c++"), "libstb-dev": header("stb/stb_image_resize.h")}),
    run=_run_stb,
    version=_stb_version,
)

# Kotlin


def _run_kotlin(jobs: Sequence[Job], folder: Path) -> Iterator[Found]:
    folder.mkdir(exist_ok=True)
    jar, lib = folder / "ours.jar", KOTLIN / "lib"
    done(
        [
            *("java", "-Xmx1g", "-cp", lib / "kotlin-preloader.jar", "org.jetbrains.kotlin.preloading.Preloader"),
            *("-cp", lib / "kotlin-compiler.jar", "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-kotlin-home", KOTLIN),
            *("-no-reflect", "-jvm-target", "11", "-cp", GSON, "-d", jar),
            *(SAMPLES / "android/core/src/main/kotlin", HERE / "Ours.kt"),
        ]
    )
    program = ["java", "-Xmx1g", "-cp", f"{jar}:{lib / 'kotlin-stdlib.jar'}", "OursKt"]
    return ({OURS_KOTLIN: found} for found in through(program, jobs, folder / "out"))


def _kotlin_version() -> str:
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr.splitlines()[0]
    return f"{java}, kotlinc {json.loads((KOTLIN / 'package.json').read_text())['version']}"


KOTLIN_TOOL = Tool(
    ways=(OURS_KOTLIN,),
    missing=lambda: absent({"Java": shutil.which("java"), "a Kotlin compiler": KOTLIN.is_dir(), "gson": GSON.exists()}),
    run=_run_kotlin,
    version=_kotlin_version,
)

# A browser


def _browser_missing() -> str:
    driver = INSTALLED / "browser" / "node_modules"
    wanted = {"Node.js": shutil.which("node"), "Chromium": CHROMIUM, "playwright-core (.ci/install-apps web)": driver.is_dir()}
    return absent(wanted)


@contextmanager
def served(pictures: Path) -> Iterator[str]:
    """Serve the web sample with the pictures and pica beside it."""
    with serving(SAMPLES / "web", 0, {"pictures": pictures, "pica": PICA / "dist"}) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def _run_browser(jobs: Sequence[Job], folder: Path, *, pica: bool) -> Iterator[Found]:
    folder.mkdir(exist_ok=True)
    asked = [{"file": f"/pictures/{job.picture.path.name}", "preprocess": job.preprocess, "pica": pica} for job in jobs]
    (folder / "jobs.json").write_bytes(json_bytes(asked))
    environment = {"BROWSER_PACKAGES": str(INSTALLED / "browser"), "CHROMIUM": str(CHROMIUM)}
    with served(jobs[0].picture.path.parent) as url:
        lines = lines_of(["node", HERE / "browser.mjs", url, folder / "jobs.json"], len(jobs), **environment)
        for job, line in zip(jobs, lines, strict=True):
            yield {name: _pixels(way, job) for name, way in json.loads(line).items()}


def _pixels(way: dict[str, str], job: Job) -> Pixels | str:
    if "refused" in way:
        return way["refused"]
    return np.frombuffer(base64.b64decode(way["bytes"]), np.uint8).reshape(*job.preprocess.crop, 3)


def _chromium_version() -> str:
    return done([CHROMIUM, "--version"]).strip()


BROWSER = Tool(
    ways=(OURS_JAVASCRIPT, *PAGES),
    missing=_browser_missing,
    run=lambda jobs, folder: _run_browser(jobs, folder, pica=False),
    version=_chromium_version,
)

PICA_TOOL = Tool(
    ways=("pica",),
    missing=lambda: ", ".join(filter(None, (_browser_missing(), "" if PICA.is_dir() else "pica (npm)"))),
    run=lambda jobs, folder: _run_browser(jobs, folder, pica=True),
    version=lambda: f"pica {json.loads((PICA / 'package.json').read_text())['version']}",
)
