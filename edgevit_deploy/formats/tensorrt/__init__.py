"""NVIDIA's libraries, as far as the TensorRT exporter and the TensorRT runtime both need them.

This is the one place of the core that names a target. `export` and `runtimes` never import each other, yet both must
agree on which TensorRT is here, how its logger works and what its plan files look like; a second copy would drift.

Modules: `library` (which TensorRT, its logger, its plan header), `probe` (what works here, asked in a child process),
`cuda` (memory and a stream through the driver itself).
"""
