"""The lite interpreter of PyTorch 1.13, with optimize_for_mobile: the deploy graph against the published one.

    python docs/measurements/scripts/debian_lite_bench.py write FOLDER [VARIANT]
    /usr/bin/python3 docs/measurements/scripts/debian_lite_bench.py time FOLDER

The first writes TorchScript of both graphs with this project and its PyTorch; the second is run by Debian's python3-torch, which
has XNNPACK, optimises both for mobile, and times them interleaved in shuffled blocks, one of them twice as a control.
"""

import random
import statistics
import sys
import time
from pathlib import Path

import torch

SIZE = 224
BLOCKS, WARM_CALLS, TIMED_CALLS = 50, 2, 4
CONTROL = "original again (A/A)"


def write(folder: str, variant: str = "edgevit_xxs") -> None:
    from edgevit_deploy.host import THIS_HOST
    from edgevit_deploy.model.loading import ModelOrigin, load_model
    from edgevit_deploy.workbench import open_workbench

    Path(folder).mkdir(parents=True, exist_ok=True)
    with open_workbench(load_model(ModelOrigin(model=variant)), THIS_HOST) as workbench:
        for graph in ("original", "deploy"):
            plan = THIS_HOST.find_exporter("torchscript").plan(workbench.model.spec, graph=graph)
            traced = torch.jit.trace(workbench.module(plan), torch.zeros(1, 3, SIZE, SIZE), check_trace=False)
            torch.jit.freeze(traced).save(Path(folder) / f"{graph}.pt")


def time_both(folder: str) -> None:
    torch.set_num_threads(1)
    models = {graph: optimised(Path(folder) / f"{graph}.pt") for graph in ("original", "deploy")}
    models[CONTROL] = optimised(Path(folder) / "original.pt")
    image = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    times_ms = {name: [] for name in models}
    with torch.no_grad():
        error = (models["deploy"](image) - models["original"](image)).abs().max().item()
        order = random.Random(0)
        for _ in range(BLOCKS):
            for name in order.sample(list(models), len(models)):
                times_ms[name] += block_ms(models[name], image)
    original, deploy, control = (statistics.median(times_ms[name]) for name in ("original", "deploy", CONTROL))
    runs = BLOCKS * TIMED_CALLS
    print(f"PyTorch {torch.__version__}, optimize_for_mobile, 1 thread, {SIZE}x{SIZE}, CPU time, median of {runs} runs")
    print(f"original {original:.2f} ms, deploy {deploy:.2f} ms: original / deploy = {original / deploy:.3f}")
    print(f"A/A {control / original:.3f}; largest difference of the logits {error:.2g}")


def optimised(path: Path) -> torch.nn.Module:
    import torch.backends.xnnpack  # without it, 1.13 does not know that it has XNNPACK
    from torch.jit.mobile import _load_for_lite_interpreter
    from torch.utils.mobile_optimizer import optimize_for_mobile

    lite = path.with_suffix(".ptl")
    optimize_for_mobile(torch.jit.load(path).eval())._save_for_lite_interpreter(str(lite))
    return _load_for_lite_interpreter(str(lite))


def block_ms(model: torch.nn.Module, image: torch.Tensor) -> list:
    for _ in range(WARM_CALLS):
        model(image)
    times_ms = []
    for _ in range(TIMED_CALLS):
        start_ns = time.process_time_ns()
        model(image)
        times_ms.append((time.process_time_ns() - start_ns) / 1e6)
    return times_ms


if __name__ == "__main__":
    {"write": write, "time": time_both}[sys.argv[1]](*sys.argv[2:])
