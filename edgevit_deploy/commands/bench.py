def bench_bundles() -> int:
    return 0
