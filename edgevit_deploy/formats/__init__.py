"""What a file of each target holds, and what is refused in one: one module a target, asked by its exporter and its runtime."""
