"""The survival of runs and sweeps: `python -m benchmarks.survival`."""
