"""Who is evaluated: bundles of detectors and their network; how each turns pictures into boxes."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.data.batches import PictureStream
from edgevit_deploy.data.boxes import Detections, decode, in_picture, shown_in
from edgevit_deploy.data.coco import CocoFolder
from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.accuracy.contestants import Way
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.outside.files import real_path
from edgevit_deploy.parity.gate import run_in_batches
from edgevit_deploy.spec import Preprocess, output_specs, task_of
from edgevit_deploy.spec.detection import Decoding
from edgevit_deploy.verification.bundle import artifact_of, check_same_weights
from edgevit_deploy.workbench import Step, promised_batches

NETWORK_BATCH = 8
"""Pictures a run of the network: its maps at detectors' sizes are large."""

Run = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A bundle whose hashes hold and which detects.

    Attributes:
        bundle: its folder.
        manifest: of it.
        decoding: what its manifest says of its outputs.
        network: what it is paired with; None without weights.
    """

    bundle: Path
    manifest: Manifest
    decoding: Decoding
    network: LoadedModel | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A subject that is ready.

    Attributes:
        runtime: what runs it.
        run: uint8 (n, height, width, 3) -> outputs by name.
        decoding: of the outputs.
        preprocess: of the pictures.
        batch: pictures a run.
    """

    runtime: str
    run: Run
    decoding: Decoding
    preprocess: Preprocess
    batch: int


def read_contestants(bundles: Sequence[Path], weights: Path | None) -> tuple[Contestant, ...]:
    """Open bundles and prove that they can be compared.

    Raises:
        UsageError: no bundle, one given twice, one that does not detect, or one of other weights.
        BundleError: a damaged bundle.
    """
    resolved = [real_path(bundle) for bundle in bundles]
    for index, bundle in enumerate(bundles):
        if resolved[index] in resolved[:index]:
            raise UsageError(f"{bundle} is given twice; give it once")
    contestants = []
    models: dict[object, LoadedModel] = {}
    for bundle in bundles:
        manifest = open_bundle(bundle)
        if task_of(manifest.conversion.returns) != "detect" or manifest.decoding is None:
            raise UsageError(
                f"{bundle} returns {manifest.conversion.returns}, and others detect; evaluate it in a run of its own"
            )
        key = manifest.model, manifest.preprocess
        if weights is not None and key not in models:
            models[key] = load_model(ModelOrigin.of(manifest.model, manifest.preprocess, weights=weights))
            try:
                check_same_weights(manifest, models[key])
            except UsageError as error:
                raise UsageError(f"{bundle}: {error}") from error
        contestants.append(
            Contestant(bundle=bundle, manifest=manifest, decoding=manifest.decoding, network=models.get(key) if weights else None)
        )
    return tuple(contestants)


@contextmanager
def open_file(contestant: Contestant, way: Way, host: ThisHost) -> Iterator[Opened]:
    """Open a bundle's file on its runtime.

    Raises:
        MissingError: nothing on this host runs the file as it is.
        RunError: the runtime cannot load it.
    """
    manifest, size = contestant.manifest, contestant.manifest.preprocess.crop
    artifact, session_type = artifact_of(contestant.bundle, manifest, host), host.find_session(manifest.target)
    if session_type is None:
        raise MissingError(host.why_not_run(manifest.target) or f"no runtime for {manifest.target}")
    fixed = manifest.inputs[0].shape[0]
    batch = fixed if isinstance(fixed, int) else way.batch or promised_batches(artifact)[0]
    if not artifact.inputs[0].accepts((batch, 3, *size)):
        raise UsageError(
            f"{contestant.bundle}: the manifest makes pictures of {size[0]} x {size[1]}, and its model takes another size; "
            "convert again"
        )
    with session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=way.threads) as session:
        if session.substitute:
            raise MissingError(session.substitute)

        def run(pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
            return run_in_batches(session, normalise(pixels, manifest.preprocess, manifest.conversion.takes), batch)

        yield Opened(
            runtime=session_type.name,
            run=run,
            decoding=contestant.decoding,
            preprocess=manifest.preprocess,
            batch=batch,
        )


@contextmanager
def open_network(model: LoadedModel, decoding: Decoding, way: Way) -> Iterator[Opened]:
    """Make the network in PyTorch ready; its outputs are decoded as those of the bundles that it is compared with."""
    import torch

    from edgevit_deploy.model.ends import as_tuple, prepare

    spec = model.spec
    dtype = torch.float64 if way.reference == "fp64" else torch.float32
    module = prepare(model.network, spec.preprocess, "tensor", "detections", dtype)
    names = [output.name for output in output_specs(spec, "detections", batch=1, size=spec.image_size)]
    before = torch.get_num_threads()
    torch.set_num_threads(way.threads or before)

    def run(pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        inputs = torch.from_numpy(normalise(pixels, spec.preprocess, "tensor")).to(dtype)
        with torch.inference_mode():
            return {name: output.numpy() for name, output in zip(names, as_tuple(module(inputs)), strict=True)}

    try:
        yield Opened(
            runtime=f"PyTorch {way.reference}",
            run=run,
            decoding=decoding,
            preprocess=spec.preprocess,
            batch=way.batch or NETWORK_BATCH,
        )
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one subject made of all pictures.

    Attributes:
        status: whether it ran.
        detections: number of a picture -> its boxes, in pixels of the picture.
        undecoded: place of a picture that could not be decoded -> why.
        not_finite: pictures for which an output was NaN or infinite.
        reason: why it did not run.
        runtime: what ran it.
        pictures_per_s: wall clock, decoding included.
    """

    status: Literal["ran", "not run", "failed"]
    detections: Mapping[int, Detections]
    undecoded: Mapping[int, str]
    not_finite: int = 0
    reason: str = ""
    runtime: str = ""
    pictures_per_s: float | None = None


def find_boxes(opened: Opened, folder: CocoFolder, positions: Sequence[int], workers: int, name: str, step: Step) -> Found:
    """Run pictures through a subject, decode what it gives and put the boxes back into the pictures."""
    start, tell = time.perf_counter(), now_and_then(step)
    detections: dict[int, Detections] = {}
    undecoded: dict[int, str] = {}
    not_finite = 0
    stream = PictureStream(
        path=folder.path, positions=positions, preprocess=opened.preprocess, batch=opened.batch, workers=workers
    )
    places: dict[str, list[int]] = {}  # one file may be several pictures of the annotations
    for position in positions:
        places.setdefault(str(folder.path(position)), []).append(position)
    with closing(iter(stream)) as batches:
        for batch in batches:
            undecoded |= {place: item.why for item in batch.broken for place in places[item.file]}
            if len(batch.positions):
                shown = [folder.pictures[position] for position in batch.positions.tolist()]
                regions = [shown_in(picture.size, opened.preprocess) for picture in shown]
                outputs = opened.run(batch.pixels)
                not_finite += len(shown) - int(_finite(outputs).sum())
                for picture, own in zip(shown, decode(outputs, opened.decoding, regions), strict=True):
                    detections[picture.id] = replace(own, boxes=in_picture(own.boxes, picture.size, opened.preprocess))
            tell(f"{name}: {len(detections)} of {len(positions)} pictures")
    seconds = time.perf_counter() - start
    return Found(
        status="ran",
        detections=detections,
        undecoded=undecoded,
        not_finite=not_finite,
        runtime=opened.runtime,
        pictures_per_s=len(detections) / seconds if detections else None,
    )


def _finite(outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Say of each picture whether all numbers of all outputs are finite."""
    rows = [np.isfinite(output).all(axis=tuple(range(1, output.ndim))) for output in outputs.values()]
    return np.asarray(np.all(rows, axis=0))
