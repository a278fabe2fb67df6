"""`write_app`: a sample and a bundle become a project of their own, which knows nothing of where it came from."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgevit_deploy.apps.samples import SAMPLE_NAME, SAMPLES, VECTORS_NAME, Sample, find_sample, platforms
from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.bundle.manifest import MANIFEST_NAME, Manifest
from edgevit_deploy.bundle.place import check_outside_bundles
from edgevit_deploy.errors import BundleError, UsageError
from edgevit_deploy.outside.files import remove, unfinished
from edgevit_deploy.spec import PADDED, PROGRAM, task_of

MADE_BY_TOOLS = shutil.ignore_patterns(SAMPLE_NAME, "build", "node_modules", "vendor", "__pycache__", ".gradle", ".build")
"""What lies in a sample's folder where somebody has built it there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A project that was written.

    Attributes:
        folder: of the project.
        platform: whose sample it is.
        target: of the bundle in it.
        library: the runtime that it loads the file with.
        proof: what of that back end was run, or only compiled.
        warnings: what was not proven of the bundle; the app shows the same on its screen.
        next: command lines that build and start it, in its folder.
    """

    folder: Path
    platform: str
    target: str
    library: str
    proof: str
    warnings: tuple[str, ...]
    next: tuple[str, ...]


def write_app(platform: str, bundle: Path, output: Path, *, unproven: bool = False) -> App:
    """Write a project for a platform that loads a bundle.

    Args:
        platform: one of `platforms()`.
        bundle: re-hashed first, and copied into the project.
        output: the project's folder; nothing may be there yet.
        unproven: also take a bundle that failed parity or was never run.

    Raises:
        UsageError: no such platform, it has no back end for the bundle's target, the bundle's file does not classify one picture
            at a time, or `output` is in use or lies in a bundle.
        BundleError: the bundle is damaged, failed parity, or was never run.
    """
    sample, manifest = find_sample(platform), open_bundle(bundle)
    check_suits(sample, manifest, bundle)
    warnings = _check_proven(manifest, bundle, unproven=unproven)
    with _new_folder(output) as folder:
        shutil.copytree(sample.folder, folder, dirs_exist_ok=True, ignore=MADE_BY_TOOLS)
        _copy(SAMPLES / VECTORS_NAME, folder / sample.vectors / VECTORS_NAME)
        for name in (MANIFEST_NAME, *(record.path for record in manifest.files)):
            _copy(bundle / name, folder / sample.bundle / name)
    backend = sample.backends[manifest.target]
    return App(
        folder=output,
        platform=platform,
        target=manifest.target,
        library=backend.library,
        proof=backend.proof,
        warnings=warnings,
        next=sample.next,
    )


def check_suits(sample: Sample, manifest: Manifest, bundle: Path) -> None:
    """Refuse a bundle that a sample cannot show.

    Raises:
        UsageError: no back end for its target, or its file does not classify one picture at a time.
    """
    if manifest.target not in sample.backends:
        others = [name for name in platforms() if manifest.target in find_sample(name).backends]
        elsewhere = f", or `{PROGRAM} app {others[0]} {bundle}`" if others else ""
        raise UsageError(
            f"the {sample.platform} sample loads {', '.join(sorted(sample.backends))}, and {bundle} is {manifest.target}; "
            f"give a bundle of those{elsewhere}"
        )
    if (task := task_of(manifest.conversion.returns)) != "classify":
        raise UsageError(
            f"{bundle} is for --task {task}, and a sample shows the classes of a picture; convert with --task classify"
        )
    if manifest.conversion.takes not in sample.takes:
        raise UsageError(
            f"the {sample.platform} sample gives a file no {manifest.conversion.takes} input, which {bundle} takes; convert it "
            f"with --input {' or '.join(sample.takes)}"
        )
    if manifest.preprocess.fit in PADDED:
        raise UsageError(
            f"{bundle} takes pictures that were padded (resize mode {manifest.preprocess.fit}), and no sample pads; convert with "
            "--resize-mode cover or stretch"
        )
    if manifest.conversion.batch not in (1, "dynamic"):
        raise UsageError(
            f"{bundle} takes {manifest.conversion.batch} pictures a run, and a sample shows one; convert it with --batch 1"
        )


def _check_proven(manifest: Manifest, bundle: Path, *, unproven: bool) -> tuple[str, ...]:
    """Return what was not proven of a bundle, where that was allowed."""
    verdict = manifest.verdict
    if verdict not in ("failed", "built, not run"):
        return () if verdict == "passed" else (f"the bundle is {verdict}",)
    if not unproven:
        what = "failed parity" if verdict == "failed" else "was built and never run"
        raise BundleError(
            f"{bundle} {what}, so nothing says that it computes the right numbers; convert again where it runs, or add "
            "--unproven: then the app says so on its screen"
        )
    return (f"the bundle is unproven ({verdict}), and the app says so on its screen",)


@contextmanager
def _new_folder(place: Path) -> Iterator[Path]:
    """Give a folder to fill beside a place, and move it there at the end; of one that was not filled nothing is left.

    Raises:
        UsageError: something is there, it lies in a bundle, or nothing can be written there.
    """
    check_outside_bundles(place)
    if place.is_symlink() or (place.exists() and not (place.is_dir() and not any(place.iterdir()))):
        raise UsageError(f"{place} is there already, and what you changed in it would be lost; give another --output")
    partial = unfinished(place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        yield partial
        partial.rename(place)
    except OSError as error:
        raise UsageError(f"{place} cannot be written ({error.strerror or error}); give another --output") from error
    finally:
        remove(partial)


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, destination)
