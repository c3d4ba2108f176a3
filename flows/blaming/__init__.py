"""Which part of a batch made a candidate worse: slices, short probes, group testing."""
