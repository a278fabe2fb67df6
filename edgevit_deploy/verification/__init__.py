"""Proving a bundle again: from its golden data, from its weights, layer by layer."""
