"""Print the multiply-accumulates of the paper's networks at 224 x 224, as edgevit_deploy/measure/pareto/published.toml has them.

python docs/measurements/scripts/count_peers.py
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from edgevit_deploy.model.peers import PEER_SIZE, PEERS, make_peer


def main() -> None:
    for name in PEERS:
        network = make_peer(name, seed=0).network
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, *PEER_SIZE))
        parameters = sum(parameter.numel() for parameter in network.parameters())
        print(f"{name} = {counter.get_total_flops() // 2}  # {parameters / 1e6:.1f} million parameters")


if __name__ == "__main__":
    main()
