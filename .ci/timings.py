"""Time and memory of what the README promises, against the bounds of the contract; exits 1 past a bound.

A shared runner can be half as fast as the next one, so the bound of `--help`, which is a fraction of a second, is one of a
machine that runs `YARDSTICK` in `YARDSTICK_S`; a slower machine gets as much more. The smallest of several runs is judged:
what else runs on the machine only ever adds time.
"""

import resource
import subprocess
import sys
import tempfile
import time

HELP_S = 0.5
YARDSTICK = "import asyncio, doctest, email.mime.text, http.server, sqlite3, unittest.mock, xml.dom.minidom, xmlrpc.client"
YARDSTICK_S = 0.12
HEAVY_HELP = "import torch; from edgevit_deploy.cli import main; main(['--help'])"  # the negative control
REPEATS = 7
ONNX_S = 25.0
ONNX_BYTES = 2 * 10**9


def timed(*arguments: str) -> float:
    """Run Python with these arguments and return its wall-clock seconds."""
    start = time.monotonic()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def help_is_quick() -> bool:
    """Judge `--help`, and that the same judgement refuses one that imports torch."""
    rounds = [(timed("-c", YARDSTICK), timed("convert.py", "--help"), timed("-c", HEAVY_HELP)) for _ in range(REPEATS)]
    yardstick_s, help_s, heavy_s = (min(seconds) for seconds in zip(*rounds, strict=True))
    bound_s = HELP_S * max(1.0, yardstick_s / YARDSTICK_S)
    print(f"--help: {help_s:.2f} s (smallest of {REPEATS}, bound {bound_s:.2f}; the yardstick takes {yardstick_s:.2f} s)")
    print(f"--help with torch, which must be past the bound: {heavy_s:.2f} s")
    return help_s <= bound_s < heavy_s


def onnx_is_quick_and_small() -> bool:
    """Judge one conversion, its parity check included."""
    with tempfile.TemporaryDirectory() as folder:
        onnx_s = timed("convert.py", "onnx", "--model", "edgevit_xxs", "--output", folder)
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"onnx edgevit_xxs, parity included: {onnx_s:.1f} s (bound {ONNX_S}), peak {peak_bytes / 1e9:.2f} GB (bound 2)")
    return onnx_s <= ONNX_S and peak_bytes <= ONNX_BYTES


if __name__ == "__main__":
    results = [help_is_quick(), onnx_is_quick_and_small()]
    sys.exit(int(not all(results)))
