"""Run a command, and say how much memory it and everything that it started took at most: the sum of their PSS, which counts what
they share once.

    python docs/measurements/scripts/peak_memory.py python convert.py evaluate ...

Linux only.
"""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PAUSE_S = 0.1


def pss_kib(process: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def tree(process: int) -> list[int]:
    found = [process]
    for each in found:
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def main() -> None:
    start, peak_kib, most = time.monotonic(), 0, 0
    with subprocess.Popen(sys.argv[1:]) as command:
        while command.poll() is None:
            processes = tree(command.pid)
            peak_kib, most = max(peak_kib, sum(map(pss_kib, processes))), max(most, len(processes))
            time.sleep(PAUSE_S)
    seconds = time.monotonic() - start
    print(f"peak {peak_kib * 1024 / 1e6:.0f} MB in at most {most} processes, {seconds:.0f} s, exit code {command.returncode}")


if __name__ == "__main__":
    main()
