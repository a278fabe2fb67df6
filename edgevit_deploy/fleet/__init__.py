"""Many machines: the jobs of `all`, `bench` and `evaluate` on the workers of a Dask scheduler.

Nothing outside of this folder imports dask, and nothing imports this folder before `--on` or `worker` asks for it.
"""
