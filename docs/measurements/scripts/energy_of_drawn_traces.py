"""Print the table of docs/measurements/energy.md: how far `energy` is off on drawn traces, by kind.

python docs/measurements/scripts/energy_of_drawn_traces.py [TRACES OF EACH KIND] [FIRST SEED]
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[3]))

from edgevit_deploy.measure.energy.result import read_energy
from tests.helpers.power_traces import KINDS


def main() -> None:
    traces, first = (int(word) for word in (sys.argv[1:] + ["100", "1000000"][len(sys.argv) - 1 :]))
    print(
        "| kind | measured | mean error | largest error | truth within the 95 % interval | refused |\n|---|---|---|---|---|---|"
    )
    for name, kind in KINDS.items():
        errors, held, refusals = [], 0, Counter[str]()
        for seed in range(first, first + traces):
            trace, truth_mj = kind.draw(seed)
            reading = read_energy(trace)
            if reading.energy is None:
                refusals[reason(reading.refusal)] += 1
                continue
            errors.append(reading.energy.mean_mj / truth_mj - 1)
            low, high = reading.energy.interval_mj
            held += low <= truth_mj <= high
        shown = [f"{np.mean(errors):+.2%}", f"{np.abs(errors).max():.2%}", str(held)] if errors else ["", "", ""]
        why = ", ".join(f"{count} {text}" for text, count in refusals.most_common(3))
        print(f"| {name} | {len(errors)} | {' | '.join(shown)} | {why} |", flush=True)


def reason(refusal: str) -> str:
    """Return the refusal in a few words, without its figures."""
    words = {
        "are in the trace": "another number",
        "come back to the background": "pauses too short",
        "shortest pause": "pauses too short",
        "exactly the": "clipped",
        "usual energy": "one is two, or half of one",
        "may be wrong by": "not exact enough",
        "stand out": "no two levels",
    }
    return next((short for text, short in words.items() if text in refusal), refusal[:40])


if __name__ == "__main__":
    main()
