"""Print the paper's table 2 with the latencies of this project's records, for docs/measurements/pareto/README.md.

python docs/measurements/scripts/paper_table_2.py
"""

import json
from pathlib import Path

from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.peers import PEERS, make_peer
from edgevit_deploy.model.variants import VARIANTS

PARETO = Path(__file__).parent.parent / "pareto"
RUNTIMES = ("PyTorch lite", "ONNX Runtime", "OpenVINO", "ncnn")


def parameters_million(name: str) -> float:
    network = make_peer(name, seed=0).network if name in PEERS else EdgeViT(VARIANTS[name.lower().replace("-", "_")])
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def main() -> None:
    latency, macs = (json.loads((PARETO / name / "pareto.json").read_text()) for name in ("latency", "macs"))
    series = {runtime: next(one for one in latency["series"] if one["name"].startswith(runtime)) for runtime in RUNTIMES}
    print(f"| | parameters, M | MACs, M | top-1 %, published | {' | '.join(f'{runtime}, ms' for runtime in RUNTIMES)} |")
    print(f"|---|---|---|---|{'---|' * len(RUNTIMES)}")
    for point in sorted(macs["series"][0]["points"], key=lambda point: point["top1"]["value"]):
        name = point["network"]
        cells = []
        for runtime in RUNTIMES:
            mine = [row for row in series[runtime]["points"] if row["network"] == name]
            best = min(mine, key=lambda row: row["cost"]["value"], default=None)
            sign = {"front": "**", "undecided": "*", "dominated": ""}[best["standing"]] if best else ""
            cells.append(f"{sign}{best['cost']['value']:.2f}{sign}" if best else "refused by pnnx")
        figures = f"{parameters_million(name):.1f} | {point['cost']['value']:.0f} | {point['top1']['value']:.1f}"
        print(f"| {name} | {figures} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
