"""CPU time of OpenVINO's int8 graph beside its fp32 and bf16 ones, in shuffled blocks on one thread, A/A beside it.

Usage: python docs/measurements/scripts/openvino_int8.py VARIANT BLOCKS [PART=CHOICE ...]

Random weights, ranges of drawn pictures, the variant's own image size. Each PART=CHOICE is int8 with that one part of its form,
or of what it rounds, otherwise, as `convert.py tune` calls them.
"""

import sys
import time
from typing import Any

import numpy as np

from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.formats.openvino import HINT_NAME, SNIPPETS_NAME, load_openvino, settings_for
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.alternatives import Alternatives
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.workbench import Workbench, open_workbench
from export.openvino import OpenVinoExporter, convert
from export.openvino.integers import put_weights

CALLS = 5
"""Timed in a row, after one that is not."""

EXPORTER = OpenVinoExporter()


def graph(bench: Workbench, plan: ExportPlan[Any]) -> Any:
    plan = bench.rounded.calibrated(plan)
    module = bench.module(plan)
    model = convert(module, plan)
    if plan.scheme is not None:
        put_weights(model, module)
    return model


def main(variant: str, blocks: int, *changes: str) -> None:
    model = load_model(ModelOrigin(model=variant, seed=0))
    core, rng = load_openvino().Core(), np.random.default_rng(0)
    image = rng.standard_normal((1, 3, *model.spec.image_size)).astype(np.float32)

    def request(compiled_from: Any, settings: dict[str, str]) -> Any:
        one_thread = {**settings, "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
        return core.compile_model(compiled_from, "CPU", one_thread).create_infer_request()

    with open_workbench(model, THIS_HOST, calibration=CalibrationChoice(pictures="synthetic")) as bench:
        plan = EXPORTER.plan(model.spec, precision="int8")
        alternatives = Alternatives(EXPORTER, plan)
        single, rounded = graph(bench, EXPORTER.plan(model.spec)), graph(bench, plan)
        int8 = settings_for("int8")
        runs = {
            "fp32": request(single, settings_for("fp32")),
            "fp32, A/A": request(single, settings_for("fp32")),
            "bf16": request(single, settings_for("bf16")),
            "int8": request(rounded, int8),
            "int8, A/A": request(rounded, int8),
            "int8, no snippets": request(rounded, {**int8, SNIPPETS_NAME: "DISABLE"}),
            "int8, bf16 hint": request(rounded, {**int8, HINT_NAME: "bf16"}),
        }
        for change in changes:
            part, choice = change.split("=")
            runs[f"int8, {change}"] = request(graph(bench, alternatives.others(plan, part)[choice]), int8)
    times_ms: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(blocks):
        for name in rng.permutation(list(runs)):
            runs[name].infer({0: image}, share_inputs=True)
            for _ in range(CALLS):
                start = time.process_time()
                runs[name].infer({0: image}, share_inputs=True)
                times_ms[name].append(1000 * (time.process_time() - start))
    base = np.median(times_ms["fp32"])
    for name, values in times_ms.items():
        low, middle, high = np.percentile(values, [25, 50, 75])
        print(f"{name:28} {middle:6.2f} ms (quartiles {low:.2f} to {high:.2f})   fp32 / this {base / middle:.2f}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
