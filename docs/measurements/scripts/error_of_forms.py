"""Is the deploy graph less accurate than a naive export? Both, over several random networks, against float64.

    python docs/measurements/scripts/error_of_forms.py TARGET [VARIANT] [SEEDS]

One network says little: its largest error among 8000 outputs is a matter of luck, up to 1.5 times more or less with the same
graph. So every seed is another network, and the figure is the geometric mean of the ratios, ours over the naive export's, with
the 95 % interval of a t distribution.
"""

import math
import statistics
import sys
from dataclasses import dataclass

import numpy as np

from edgevit_deploy.exporter import Artifact
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.parity.gate import Truth, run_in_batches
from edgevit_deploy.workbench import open_workbench

FASTEST_NAIVE = {"onnx": "TorchScript exporter", "mnn": "plain conversion"}
"""Of several naive exports, the one that computes the network and that the deploy graph's speed is compared with; elsewhere there
is one."""

T_95 = {4: 3.182, 6: 2.571, 8: 2.365, 12: 2.201, 16: 2.131}
"""Seeds -> the two-sided 95 % point of Student's t with one degree of freedom less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """Of one file on all probes: the largest error, and the root of the mean square, in units of PyTorch's largest."""

    largest: float
    rms: float


def main(target: str, variant: str = "edgevit_xxs", seeds: str = "8") -> None:
    ours, naive = zip(*(errors_of(target, variant, seed) for seed in range(int(seeds))), strict=True)
    for figure in ("largest", "rms"):
        pairs = [(getattr(own, figure), getattr(other, figure)) for own, other in zip(ours, naive, strict=True)]
        logs = [math.log(own / other) for own, other in pairs]
        mean, reach = statistics.mean(logs), T_95[len(logs)] * statistics.stdev(logs) / math.sqrt(len(logs))
        low, high = math.exp(mean - reach), math.exp(mean + reach)
        verdict = "smaller" if high < 1 else "larger" if low > 1 else "no difference"
        print(
            f"{target} {variant}, {figure} error, ours / naive: {math.exp(mean):.2f} (95 %: {low:.2f} to {high:.2f}), {verdict}; "
            f"each seed: {', '.join(f'{own:.2g}/{other:.2g}' for own, other in pairs)}",
            flush=True,
        )


def errors_of(target: str, variant: str, seed: int) -> tuple[Error, Error]:
    """Convert one network both ways and run both files; ours first."""
    exporter = THIS_HOST.require_exporter(target)
    with open_workbench(load_model(ModelOrigin(model=variant, seed=seed)), THIS_HOST) as workbench:
        plan = exporter.plan(workbench.model.spec)
        truth, _ = workbench.truths(plan)
        writers = exporter.naive(workbench.module(plan, workbench.model.network), plan)
        write_naive = writers[FASTEST_NAIVE[target]] if len(writers) > 1 else next(iter(writers.values()))
        return error_of(workbench.build(plan), truth), error_of(workbench.build(plan, write=write_naive), truth)


def error_of(artifact: Artifact, truth: Truth) -> Error:
    session_type = THIS_HOST.find_session(artifact.target)
    assert session_type is not None, f"nothing here runs {artifact.target} files"
    with session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
        errors = run_in_batches(session, truth.probes.inputs, 1)["logits"] - truth.outputs["logits"]
    noise = truth.noise["logits"]
    return Error(largest=float(np.abs(errors).max()) / noise, rms=float(np.sqrt(np.square(errors).mean())) / noise)


if __name__ == "__main__":
    main(*sys.argv[1:])
