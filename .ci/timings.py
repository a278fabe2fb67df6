"""Time and memory of what the README promises, against the bounds of the contract; exits 1 past a bound."""

import resource
import statistics
import subprocess
import sys
import tempfile
import time

HELP_S = 0.5
ONNX_S = 25.0
ONNX_BYTES = 2 * 10**9


def timed(command: list[str]) -> float:
    """Run a command and return its wall-clock seconds."""
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def main() -> int:
    """Measure and judge."""
    help_s = statistics.median(timed([sys.executable, "convert.py", "--help"]) for _ in range(5))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "convert.py", "onnx", "--model", "edgevit_xxs", "--output", folder]
        onnx_s = timed(command)
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"--help: {help_s:.2f} s (median of 5, bound {HELP_S})")
    print(f"onnx edgevit_xxs, parity included: {onnx_s:.1f} s (bound {ONNX_S}), peak {peak_bytes / 1e9:.2f} GB (bound 2)")
    return int(help_s > HELP_S or onnx_s > ONNX_S or peak_bytes > ONNX_BYTES)


if __name__ == "__main__":
    sys.exit(main())
