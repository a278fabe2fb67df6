"""Parity: the inputs, the truth, the yardstick, the bound and the verdict."""
