"""Energy of an inference: from the trace of a power meter, or from the counters of this host."""
