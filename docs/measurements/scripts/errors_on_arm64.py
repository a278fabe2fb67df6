"""How large is the error of a bundle on ARM64 kernels, in units of the noise that its bound is a multiple of?

    python docs/measurements/scripts/errors_on_arm64.py SYSROOT BUNDLE... (--weights FILE | --seed N)
        [--seeds N] [--pictures FOLDER [--limit N]]

Runs N sets of the eight probes, drawn from different seeds, and the pictures of a folder, through each bundle in a sysroot. The
noise of each set is PyTorch's own on that set, as in a conversion; that of the pictures is their own. Of an ncnn file in fp16 a
second row has `fp16_arithmetic` on, which no bundle asks for.
"""

import argparse
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgevit_deploy.process.sysroot import open_sysroot
from runtimes import LINES
from runtimes.ncnn import NcnnModel, NcnnSession


class HalfSums(NcnnSession):
    """ncnn as it is by its own default: sums in half precision too."""

    name: ClassVar[str] = "ncnn, fp16_arithmetic on"

    def _read(self, model: NcnnModel, allocator: object = None) -> object:  # noqa: ARG002
        import ncnn

        net = ncnn.Net()
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = True
        net.opt.use_vulkan_compute = False
        assert (net.load_param(str(self.path / "model.param")), net.load_model(str(self.path / "model.bin"))) == (0, 0)
        return net


LOCATIONS = {line.target: line.location for line in LINES if line.arm64}


def main() -> None:
    from edgevit_deploy.bundle.folder import open_bundle
    from edgevit_deploy.data.photographs import pictures_of, read_some
    from edgevit_deploy.data.preprocess import normalise
    from edgevit_deploy.host import THIS_HOST
    from edgevit_deploy.model.loading import ModelOrigin, load_model
    from edgevit_deploy.parity.gate import compare, run_in_batches
    from edgevit_deploy.parity.probes import Probes, make_probes
    from edgevit_deploy.parity.reference import Ends, Reference
    from edgevit_deploy.process.session_child import emulated
    from edgevit_deploy.registry import load_class
    from edgevit_deploy.spec import floating
    from edgevit_deploy.verification.bundle import artifact_of, check_same_weights
    from edgevit_deploy.workbench import quiet

    parser = argparse.ArgumentParser()
    parser.add_argument("sysroot", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--limit", type=int, default=200)
    flags = parser.parse_args()
    sysroot = open_sysroot(flags.sysroot)
    print("| file | on | probes: x noise of each set | same top-1 | pictures | x noise | same top-1 |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for bundle in flags.bundles:
        manifest = open_bundle(bundle)
        made = ModelOrigin.of(manifest.model, manifest.preprocess, weights=flags.weights, labels=None, seed=flags.seed)
        model = load_model(made)
        check_same_weights(manifest, model)
        reference, preprocess = Reference(model.network, model.spec.preprocess), model.spec.preprocess
        ends = Ends(takes="tensor", returns="logits", outputs=("logits",))
        sets = [make_probes(model.spec.image_size, preprocess, "tensor", seed) for seed in range(flags.seeds)]
        if flags.pictures:
            pixels, _ = read_some(pictures_of(flags.pictures, strict=False), flags.limit, preprocess, quiet)
            sets.append(Probes(names=tuple(pixels), inputs=normalise(np.stack(list(pixels.values())), preprocess, "tensor")))
        precision = floating(manifest.precision, "noise")
        truths = [reference.truth(probes, ends, precision) for probes in sets]
        artifact = artifact_of(bundle, manifest, THIS_HOST)
        bound = THIS_HOST.find_exporter(manifest.target).bound(manifest.precision)
        locations = [LOCATIONS[manifest.target]]
        if (manifest.target, manifest.precision) == ("ncnn", "fp16"):
            locations.append("docs.measurements.scripts.errors_on_arm64:HalfSums")
        for location in locations:
            session_type = emulated(load_class(location), location, sysroot)
            with session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
                found = [run_in_batches(session, truth.probes.inputs, 1)["logits"] for truth in truths]
                substitute = session.substitute
            diffs = [compare("logits", outputs, truth, bound, 1) for outputs, truth in zip(found, truths, strict=True)]
            ratios = ", ".join(f"{diff.noise_ratio:.2f}" for diff in diffs[: flags.seeds])
            same = sum(diff.agreeing or 0 for diff in diffs[: flags.seeds])
            seen = [f"{diff.probes} | {diff.noise_ratio:.2f} | {diff.top1}" for diff in diffs[flags.seeds :]] or ["- | - | -"]
            on = session_type.name.split(",")[0] if location in LOCATIONS.values() else HalfSums.name
            what = f"{manifest.target} {manifest.precision}, {model.spec.image_size[0]}"
            print(f"| {what} | {substitute or on} | {ratios} | {same} of {8 * flags.seeds} | {seen[0]} |", flush=True)


if __name__ == "__main__":
    main()
