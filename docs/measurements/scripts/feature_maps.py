"""Feature maps of every variant at two sizes on seven targets: each converted and judged, the error of each output in a table.

Usage: python docs/measurements/scripts/feature_maps.py FOLDER [TARGET ...]

Random weights from seed 0, fp32, each target's own form. Bundles go to FOLDER/VARIANT-HEIGHTxWIDTH. One that is there already is
read and not made again, so that the script can be stopped, and ends with the table of all that there are.
"""

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from edgevit_deploy.bundle.manifest import MANIFEST_NAME, Manifest, read_manifest
from edgevit_deploy.every_target import Network, convert_network
from edgevit_deploy.model.loading import ModelOrigin
from edgevit_deploy.request import FileRequest

TARGETS = ("onnx", "torchscript", "ncnn", "openvino", "coreml", "litert", "executorch")
VARIANTS = ("edgevit_xxs", "edgevit_xs", "edgevit_s")
SIZES = ((256, 704), (512, 512))


def main(folder: Path, targets: tuple[str, ...]) -> None:
    for variant, (height, width) in product(VARIANTS, SIZES):
        place = folder / f"{variant}-{height}x{width}"
        missing = [target for target in targets if not (place / f"{target}-fp32" / MANIFEST_NAME).exists()]
        request = FileRequest(precision="fp32", task="features", image_size=f"{height}x{width}")
        network = Network(origin=ModelOrigin(model=variant, seed=0), output=place)
        for attempt in convert_network(network, request, targets=missing).attempts if missing else ():
            print(f"{place.name} {attempt.target}: {attempt.status} {attempt.reason}", file=sys.stderr, flush=True)
    print("\n".join(table(folder)))


def table(folder: Path) -> Iterator[str]:
    stages = ("stage1", "stage2", "stage3", "stage4")
    yield f"| variant | image | target | verdict | {' | '.join(stages)} | k |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for variant, (height, width), target in product(VARIANTS, SIZES, TARGETS):
        for bundle in sorted(folder.glob(f"{variant}-{height}x{width}/{target}-fp32*")):
            manifest = read_manifest(bundle)
            errors = " | ".join(f"{worst(manifest, stage):.2f}" for stage in stages)
            k = f"{manifest.parity.diffs[0].tolerance.k:g}"
            yield f"| {variant} | {height} x {width} | {target} | {manifest.parity.status} | {errors} | {k} |"


def worst(manifest: Manifest, stage: str) -> float:
    """The largest error of an output in units of its own noise, on the probes and on the noisiest pictures near them."""
    return max(diff.noise_ratio for diff in manifest.parity.diffs if diff.output == stage)


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(sys.argv[2:]) or TARGETS)
