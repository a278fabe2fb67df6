"""CPU time of several files of one runtime, one thread, in shuffled blocks, the first file twice (A/A).

    python docs/measurements/scripts/time_files.py litert 224 FP32.tflite INT8.tflite ...

Process CPU time, for a machine that others use too; the median over all calls of all blocks. The first file is loaded once more
at the end: its ratio to itself says how far ratios may be believed.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BLOCKS, CALLS, WARM = 12, 8, 2


def litert(path: Path, image: np.ndarray) -> Callable[[], object]:
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_path=str(path), num_threads=1).get_signature_runner("serving_default")
    return lambda: run(input=image)


def executorch(path: Path, image: np.ndarray) -> Callable[[], object]:
    import torch

    from runtimes.executorch import native_runtime, set_threads

    runtime = native_runtime()
    set_threads(1)
    program = runtime._load_program(
        str(path), enable_etdump=False, debug_buffer_size=0, program_verification=runtime.Verification.InternalConsistency
    )
    method, tensor = program.load_method("forward"), torch.from_numpy(image)
    return lambda: method([tensor])


def mnn(path: Path, image: np.ndarray) -> Callable[[], object]:
    import MNN

    interpreter = MNN.Interpreter(str(path))
    session = interpreter.createSession({"backend": "CPU", "precision": 1, "numThread": 1})
    tensor = MNN.Tensor(image.shape, MNN.Halide_Type_Float, image, MNN.Tensor_DimensionType_Caffe)
    interpreter.getSessionInput(session, "input").copyFrom(tensor)
    return lambda: interpreter.runSession(session)


def main() -> None:
    runtime, side, *paths = sys.argv[1:]
    image = np.random.default_rng(0).standard_normal((1, 3, int(side), int(side))).astype(np.float32)
    load = {"litert": litert, "executorch": executorch, "mnn": mnn}[runtime]
    runs = [load(Path(path), image) for path in (*paths, paths[0])]
    times: list[list[float]] = [[] for _ in runs]
    order = [place for place in range(len(runs)) for _ in range(BLOCKS)]
    random.Random(0).shuffle(order)
    for place in order:
        for call in range(WARM + CALLS):
            start = time.process_time()
            runs[place]()
            if call >= WARM:
                times[place].append((time.process_time() - start) * 1e3)
    medians = [statistics.median(some) for some in times]
    for path, median, some in zip((*paths, paths[0]), medians, times, strict=True):
        print(f"{median:7.2f} ms (least {min(some):.2f})  {medians[0] / median:5.3f} of the first  {path}")


if __name__ == "__main__":
    main()
