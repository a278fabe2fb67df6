"""Print the tables of docs/measurements/cost.md: multiply-accumulates by formula and by PyTorch's counter, and LGL against MHSA.

python docs/measurements/scripts/cost_of_stages.py
"""

from edgevit_deploy.measure.cost import MIXINGS, network_cost
from edgevit_deploy.measure.profile import macs_by_stage
from edgevit_deploy.model.variants import VARIANTS

SIZES = ((224, 224), (384, 384), (512, 1024))
SHOWN = ("edgevit_xxs", "edgevit_xs", "edgevit_s")


def main() -> None:
    print("| | image | stage 1 | stage 2 | stage 3 | stage 4 | all, by formula | counted | difference |")
    print("|---|---|---|---|---|---|---|---|---|")
    for variant in VARIANTS:
        for size in SIZES:
            cost, counted = network_cost(VARIANTS[variant], size), macs_by_stage(VARIANTS[variant], size)
            stages = " | ".join(f"{stage.macs / 1e6:.1f}" for stage in cost.stages)
            largest = max(abs(stage.macs - counted[f"stage {number}"]) for number, stage in enumerate(cost.stages, start=1))
            both = f"{cost.macs / 1e6:.1f} | {sum(counted.values()) / 1e6:.1f}"
            print(f"| {variant} | {size[0]} x {size[1]} | {stages} | {both} | {largest} |")
    print()
    print(f"| | image | stage | {' | '.join(MIXINGS)} | MHSA / LGL |")
    print(f"|---|---|---|{'---|' * len(MIXINGS)}---|")
    for variant in SHOWN:
        for size in SIZES:
            for number, stage in enumerate(network_cost(VARIANTS[variant], size).stages, start=1):
                macs = [stage.mixing_macs(name) / 1e6 for name in MIXINGS]
                figures = " | ".join(f"{value:.1f}" for value in macs)
                print(f"| {variant} | {size[0]} x {size[1]} | {number} | {figures} | {macs[-1] / macs[0]:.1f} |")


if __name__ == "__main__":
    main()
