"""The benchmarks: careloop beside its baselines, in one run and on the same rows, told as ratios."""
