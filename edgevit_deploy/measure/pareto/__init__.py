"""Accuracy against cost: which files and networks are dominated, by whom, and what the figures cannot decide."""
