"""Training: from a folder of labelled pictures to a checkpoint of ours. `python -m edgevit_deploy.train` is for torchrun."""
