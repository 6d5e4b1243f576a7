"""How runs and sweeps survive: `python -m benchmarks.survival`."""
