"""Find the depths of the ablations in `edgevit_deploy/model/variants.py` again, and print why they are these.

The paper (A.2) scales the layers of each ablation to 0.5 GFLOPs; which depths these are was not found. Here it is a search.
Of all depths whose multiply-accumulates at 224 x 224, counted by PyTorch, are within 5 % of edgevit_xxs's own (0.551 G), it
takes those that share the blocks among the stages most as XXS does (smallest sum of the four differences of shares), and of
several such those whose count is nearest to XXS's. Applied to the published block, it gives XXS.

The first table is that of docs/measurements/ablations-on-targets.md, the second that of docs/measurements/ablations.md.

python docs/measurements/scripts/ablation_depths.py
"""

import itertools
from dataclasses import replace

from edgevit_deploy.measure.ablations import NetworkFacts, facts_of
from edgevit_deploy.measure.profile import macs_by_stage
from edgevit_deploy.model.variants import ABLATIONS, BASELINE
from edgevit_deploy.spec import ModelSpec, Size

SIZE = (224, 224)
OTHERS: dict[Size, int] = {(64, 64): 10, (384, 384): 1000, (512, 1024): 1000}
"""Other sizes, and the classes there."""

WITHIN = 0.05
DEEPEST = 12
Depths = tuple[int, int, int, int]


def main() -> None:
    print("| | depths | million MACs | of XXS's | candidates | next best, million MACs | parameters |")
    print("|---|---|---|---|---|---|---|")
    for spec in (BASELINE, *ABLATIONS.values()):
        found = candidates(spec)
        (best, macs), (next_best, next_macs) = found[:2]
        assert best == spec.depths, f"{spec.variant} is registered with {spec.depths}, the search finds {best}"
        facts = at(spec, SIZE)
        assert macs == facts.macs
        print(
            f"| `{spec.variant}` | {listed(best)} | {macs / 1e6:.1f} | {macs / counted(BASELINE):.3f} | {len(found)} | "
            f"{listed(next_best)}: {next_macs / 1e6:.1f} | {facts.parameters:,} |"
        )
    sizes = " | ".join(f"{height} x {width}" for height, width in OTHERS)
    print(f"\n| network | replaced | depths | million MACs, 224 x 224 | of XXS's | million parameters | {sizes} |")
    print("|---|---|---|---|---|---|---|---|---|")
    for spec in (BASELINE, *ABLATIONS.values()):
        facts = at(spec, SIZE)
        elsewhere = " | ".join(f"{at(spec, size, classes).macs / 1e6:.1f}" for size, classes in OTHERS.items())
        print(
            f"| `{spec.variant}` | {facts.replaced} | {listed(facts.depths, '-')} | {facts.macs / 1e6:.1f} | "
            f"{facts.macs / counted(BASELINE):.3f} | {facts.parameters / 1e6:.2f} | {elsewhere} |"
        )


def at(spec: ModelSpec, size: Size, classes: int = 1000) -> NetworkFacts:
    """Count a network at a size, for so many classes."""
    return facts_of(replace(spec, num_classes=classes).with_image_size(size))


def listed(depths: tuple[int, ...], between: str = ", ") -> str:
    return between.join(map(str, depths))


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
