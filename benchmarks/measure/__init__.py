"""What the benchmarks share: models of a given shape, workloads as token ids, arms, counters, rounds."""
