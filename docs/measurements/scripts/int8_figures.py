"""What does a target's int8 cost in numbers and gain in time, on a trained network and pictures that it was not calibrated on?

    python docs/measurements/scripts/int8_figures.py WEIGHTS TRAIN VAL TARGET [--precision P] [--pictures N] [--option N=V]...

Ranges are observed on TRAIN. N pictures of VAL, spread evenly, go through the network in float64, the emulation, and the file as
it runs here (of an engine that cannot run, its source): RMS error of the file over that of the emulation, SQNR, and how often the
largest class is another than in float64.

    python docs/measurements/scripts/int8_figures.py --speed VARIANT TARGET [--option NAME=VALUE]... [--blocks N]
        [--other PART=CHOICE]...

Random weights and drawn pictures at 224 x 224: the fp32 file and the int8 file, each twice, and one for each --other, in which
that part of the form or of what is rounded is otherwise (`convert.py tune`'s names); in shuffled blocks, one thread, CPU time
of this process; the median of all calls, and the first over the others.
"""

import argparse
import random
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgevit_deploy.calibration.choice import SYNTHETIC, CalibrationChoice
from edgevit_deploy.data.photographs import find_pictures
from edgevit_deploy.data.preprocess import normalise, read_pixels
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.alternatives import Alternatives
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.parity.gate import root_mean_square, run_in_batches
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.workbench import Workbench, ends_of, open_workbench
from runtimes import LINES

AT_ONCE = 25
CALLS = 4


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("paths", type=Path, nargs="*")
    parser.add_argument("target")
    parser.add_argument("--speed", metavar="VARIANT")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--option", action="append", default=[])
    parser.add_argument("--other", action="append", default=[])
    flags = parser.parse_args()
    options = dict(option.split("=") for option in flags.option)
    if flags.speed:
        speed(flags.speed, flags.target, options, flags.blocks, flags.other)
    else:
        weights, train, val = flags.paths
        numbers(weights, train, val, flags.target, flags.precision, options, flags.pictures)


def build(bench: Workbench, target: str, precision: Any, options: dict[str, str]) -> Any:
    exporter = THIS_HOST.find_exporter(target)
    given = exporter.options_type(**options) if precision != "fp32" else None
    plan = exporter.plan(bench.model.spec, precision=precision, options=given)
    return plan, bench.build(plan)


def runnable(artifact: Artifact) -> Artifact:
    return artifact if THIS_HOST.find_session(artifact.target) or artifact.built_from is None else artifact.built_from


def numbers(weights: Path, train: Path, val: Path, target: str, precision: str, options: dict[str, str], count: int) -> None:
    model = load_model(ModelOrigin(weights=weights))
    folder, preprocess = find_pictures(val), model.spec.preprocess
    positions = folder.spread(count)
    pixels = np.stack([read_pixels(folder.path(position), preprocess) for position in positions])
    probes = Probes(names=tuple(map(str, positions)), inputs=normalise(pixels, preprocess, "tensor"))
    with open_workbench(model, THIS_HOST, calibration=CalibrationChoice(pictures=train)) as bench:
        plan, artifact = build(bench, target, precision, options)
        ends = ends_of(plan)
        exact = bench.reference.outputs(probes, ends, "fp64", AT_ONCE)["logits"]
        emulated = Reference(bench.rounded.emulation(plan), preprocess).outputs(probes, ends, "fp32", AT_ONCE)["logits"]
        judged = runnable(artifact)
        session_type = THIS_HOST.find_session(judged.target)
        assert session_type is not None
        with session_type(judged.path, inputs=judged.inputs, outputs=judged.outputs) as session:
            actual = run_in_batches(session, probes.inputs, 1)["logits"]
        signal = root_mean_square(exact)
        size = judged.path.stat().st_size / 1e6
        print(f"{target} {precision} {options}: {judged.path.name} {size:.2f} MB, {len(positions)} pictures")
        print(f"RMS error / emulation's {root_mean_square(actual - exact) / root_mean_square(emulated - exact):.3f}")
        for name, outputs in (("file", actual), ("emulation", emulated)):
            flips = int((outputs.argmax(axis=1) != exact.argmax(axis=1)).sum())
            print(f"{name}: SQNR {20 * np.log10(signal / root_mean_square(outputs - exact)):.1f} dB, flips {flips}")


def speed(variant: str, target: str, options: dict[str, str], blocks: int, others: list[str]) -> None:
    model = load_model(ModelOrigin(model=variant, seed=0))
    session_type = next(line.load() for line in LINES if line.target == target)  # in this process, whose time is taken
    with open_workbench(model, THIS_HOST, calibration=CalibrationChoice(pictures=SYNTHETIC)) as bench:
        float32, (plan, int8) = build(bench, target, "fp32", options)[1], build(bench, target, "int8", options)
        files = {"fp32": float32, "fp32 again": float32, "int8": int8, "int8 again": int8}
        alternatives = Alternatives(THIS_HOST.find_exporter(target), plan)
        for part, choice in (other.split("=") for other in others):
            files[f"int8, {part} {choice}"] = bench.build(alternatives.others(plan, part)[choice])
        feeds = {"input": np.random.default_rng(0).standard_normal(float32.inputs[0].shape).astype(np.float32)}
        sessions = {n: session_type(f.path, inputs=f.inputs, outputs=f.outputs, threads=1) for n, f in files.items()}
        times: dict[str, list[float]] = {name: [] for name in sessions}
        for session in sessions.values():
            session.__enter__()
        order = list(sessions)
        for _ in range(blocks):
            random.shuffle(order)
            for name in order:
                sessions[name].run(feeds)
                for _ in range(CALLS):
                    start = time.process_time()
                    sessions[name].run(feeds)
                    times[name].append(1000 * (time.process_time() - start))
        first = statistics.median(times["fp32"])
        for name, taken in times.items():
            print(f"{name}: {statistics.median(taken):.2f} ms, ratio {first / statistics.median(taken):.3f}, {len(taken)} calls")


if __name__ == "__main__":
    main()
