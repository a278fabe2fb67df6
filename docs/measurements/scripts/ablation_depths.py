"""Find the depths of the ablations in `edgevit_deploy/model/variants.py` again, and print why they are these.

The paper (A.2) scales the layers of each ablation to 0.5 GFLOPs; which depths these are was not found. Here it is a search.
Of all depths whose multiply-accumulates at 224 x 224, counted by PyTorch, are within 5 % of edgevit_xxs's own (0.551 G), it
takes those that share the blocks among the stages most as XXS does (smallest sum of the four differences of shares), and of
several such those whose count is nearest to XXS's. Applied to the published block, it gives XXS.

python docs/measurements/scripts/ablation_depths.py
"""

import itertools
from dataclasses import replace

from edgevit_deploy.measure.profile import macs_by_stage
from edgevit_deploy.model.variants import ABLATIONS, BASELINE
from edgevit_deploy.spec import ModelSpec

SIZE = (224, 224)
WITHIN = 0.05
DEEPEST = 12
Depths = tuple[int, int, int, int]


def main() -> None:
    print("| | depths | million MACs | of XXS's | candidates | next best |")
    print("|---|---|---|---|---|---|")
    for spec in (BASELINE, *ABLATIONS.values()):
        found = candidates(spec)
        (best, macs), runner_up = found[0], found[1]
        assert best == spec.depths, f"{spec.variant} is registered with {spec.depths}, the search finds {best}"
        share = f"{macs / counted(BASELINE):.3f}"
        print(
            f"| {spec.variant} | {best} | {macs / 1e6:.1f} | {share} | {len(found)} | {runner_up[0]}, {runner_up[1] / 1e6:.1f} |"
        )


def candidates(spec: ModelSpec) -> list[tuple[Depths, int]]:
    """Return all depths that cost what XXS does, with their cost, the best first."""
    target = counted(BASELINE)
    one, two = (macs_by_stage(replace(spec, depths=(count,) * 4), SIZE) for count in (1, 2))
    of_block = [two[f"stage {stage}"] - one[f"stage {stage}"] for stage in range(1, 5)]
    without_blocks = sum(one.values()) - sum(of_block)
    found = []
    for depths in itertools.product(range(1, DEEPEST + 1), repeat=4):
        macs = without_blocks + sum(depth * macs for depth, macs in zip(depths, of_block, strict=True))
        if abs(macs / target - 1) <= WITHIN:
            found.append((depths, macs))
    return sorted(found, key=lambda entry: (round(difference(entry[0]), 9), abs(entry[1] - target)))


def difference(depths: Depths) -> float:
    """Return how far the shares of the stages are from XXS's."""
    return sum(abs(depth / sum(depths) - own / sum(BASELINE.depths)) for depth, own in zip(depths, BASELINE.depths, strict=True))


def counted(spec: ModelSpec) -> int:
    return sum(macs_by_stage(spec, SIZE).values())


if __name__ == "__main__":
    main()
