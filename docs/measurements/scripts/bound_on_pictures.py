"""Does the bound that a bundle records hold on pictures that were not among its probes?

    python docs/measurements/scripts/bound_on_pictures.py WEIGHTS SIDE FOLDER BUNDLE... [--limit N] [--truth FILE.npz]

Runs every picture of a folder (one subfolder a class) through the network in float64 and float32, and through each bundle one at
a time, and counts those whose largest error is beyond the bound. WEIGHTS must be what the bundles were made from. The two runs of
the network are kept in FILE.npz for the next call.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.data.batches import PictureStream
from edgevit_deploy.data.image_folder import ImageFolder, open_image_folder
from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.parity.gate import run_in_batches
from edgevit_deploy.parity.reference import Ends, Reference
from edgevit_deploy.verification.bundle import artifact_of, check_same_weights

BATCH = 50


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path)
    parser.add_argument("side", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=10**9)
    parser.add_argument("--truth", type=Path)
    flags = parser.parse_args()
    model = load_model(ModelOrigin(weights=flags.weights, image_size=(flags.side, flags.side)))
    folder = open_image_folder(flags.folder)
    positions = folder.sample(flags.limit, seed=0)
    exact, own = truth_of(model, folder, positions, flags.truth)
    noise = np.abs(own - exact).max(axis=1)
    quantiles = ", ".join(f"{share:g} % {np.percentile(noise, share):.2e}" for share in (50, 90, 99))
    print(f"{len(positions)} pictures; PyTorch's own error, largest {noise.max():.3g}; {quantiles}\n")
    print("| file | largest error | x noise | bound | over it | bound of the 8 probes | over it | other top-1 |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for bundle in flags.bundles:
        print(row(bundle, model, folder, positions, exact, float(noise.max())), flush=True)


def inputs_of(model: LoadedModel, folder: ImageFolder, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    stream = PictureStream(path=folder.path, positions=positions, preprocess=model.spec.preprocess, batch=BATCH)
    return np.concatenate([normalise(batch.pixels, model.spec.preprocess, "tensor") for batch in stream])


def truth_of(
    model: LoadedModel, folder: ImageFolder, positions: NDArray[np.int64], cache: Path | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return float64 logits, and those of float32, one picture at a time as the noise of a bundle is taken."""
    if cache is not None and cache.exists():
        with np.load(cache) as kept:
            return kept["exact"], kept["own"]
    reference, ends = Reference(model.network, model.spec.preprocess), Ends(takes="tensor", returns="logits", outputs=("logits",))
    in_double, in_single = reference.runner(ends, "fp64"), reference.runner(ends, "fp32")
    inputs = inputs_of(model, folder, positions)
    exact = np.concatenate([in_double(inputs[start : start + BATCH])["logits"] for start in range(0, len(inputs), BATCH)])
    own = np.concatenate([in_single(image[np.newaxis])["logits"] for image in inputs])
    if cache is not None:
        np.savez(cache, exact=exact, own=own)
    return exact, own


def row(
    bundle: Path, model: LoadedModel, folder: ImageFolder, positions: NDArray[np.int64], exact: NDArray[np.float64], noise: float
) -> str:
    manifest = open_bundle(bundle)
    check_same_weights(manifest, model)
    artifact, session_type = artifact_of(bundle, manifest, THIS_HOST), THIS_HOST.find_session(manifest.target)
    widest, eight = manifest.bound_on_pictures, manifest.parity.diffs[0].tolerance
    assert session_type is not None, f"nothing here runs {manifest.target} files"
    assert widest is not None
    with session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
        outputs = run_in_batches(session, inputs_of(model, folder, positions), 1)["logits"].astype(np.float64)
    errors = np.abs(outputs - exact).max(axis=1)
    flips = int((outputs.argmax(axis=1) != exact.argmax(axis=1)).sum())
    over, over_eight = (int((errors > tolerance.atol).sum()) for tolerance in (widest, eight))
    name, largest = f"{manifest.target} {manifest.precision}", errors.max()
    ratio = f"{largest / noise:.2f}" if manifest.precision == "fp32" else "-"
    figures = f"{largest:.3g} | {ratio} | {widest.atol:.3g} | {over} | {eight.atol:.3g} | {over_eight} | {flips}"
    return f"| {name} | {figures} |"


if __name__ == "__main__":
    main()
