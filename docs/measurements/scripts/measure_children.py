"""What the child processes cost: opening a file, running it, exporting, each in this process and in a child, shuffled.

python docs/measurements/scripts/measure_children.py [--repeats 9]
"""

import argparse
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from edgevit_deploy import create_model
from edgevit_deploy.exporter.child import ExportWorkers
from edgevit_deploy.host import RUNTIMES, TARGETS, load_session
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.model.random_weights import randomise

RUNS = 20


def main() -> None:
    """Measure and print one Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    network = create_model("edgevit_xxs")
    randomise(network, 0)
    module = prepare(network, network.spec.preprocess, "tensor", "logits", torch.float32)
    line, runtime = TARGETS["onnx"], RUNTIMES["onnxruntime"]
    plan = line.load()().plan(network.spec, graph="original")
    times_ms: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        workers, folders = ExportWorkers(), iter(range(10**6))

        def fresh() -> Path:
            folder = Path(scratch) / str(next(folders))
            folder.mkdir()
            return folder

        artifact = line.load()().export(module, plan, fresh())
        feeds = {"input": np.zeros((1, 3, 224, 224), np.float32)}
        sessions = {"here": runtime.load(), "in a child": load_session(runtime)}

        def timed(what: str, work: Callable[[], object]) -> None:
            start_ns = time.perf_counter_ns()
            work()
            times_ms[what].append((time.perf_counter_ns() - start_ns) / 1e6)

        def use(where: str, name: str) -> None:
            session = sessions[where](artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1)
            timed(f"open a file, {name}", session.__enter__)
            timed(f"the first run, {name}", lambda: session.run(feeds))
            for _ in range(RUNS):
                timed(f"a run with its copies, {name}", lambda: session.run(feeds))
            times_ms[f"a timed run, {name}"] += session.time_runs(feeds, RUNS)
            session.__exit__(None, None, None)

        def export_in_child(what: str) -> None:
            timed(what, lambda: workers.export(line.location, module, plan, fresh()))

        def export_twice() -> None:
            workers.close()
            export_in_child("export, the first in a child")
            export_in_child("export, the next in a child")

        work = [lambda: use("here", "here"), lambda: use("here", "here again"), lambda: use("in a child", "in a child")]
        work.append(lambda: timed("export, here", lambda: line.load()().export(module, plan, fresh())))
        work.append(export_twice)
        order = [job for job in work for _ in range(repeats)]
        random.Random(0).shuffle(order)
        for job in order:
            job()
        workers.close()
    print("| | median, ms | from | to | times |\n|---|---|---|---|---|")
    for what, found in sorted(times_ms.items()):
        print(f"| {what} | {statistics.median(found):.1f} | {min(found):.1f} | {max(found):.1f} | {len(found)} |")


if __name__ == "__main__":
    main()
