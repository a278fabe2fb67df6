"""`torchrun --nproc-per-node 8 -m edgevit_deploy.train --data DIR ...`: the command `train`, in every process."""

import sys

if __name__ == "__main__":
    from edgevit_deploy.cli import main

    main(["train", *sys.argv[1:]])
