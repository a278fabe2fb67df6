"""The network, its published variants and checkpoint reading."""
