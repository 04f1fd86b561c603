"""The suite `vbench` compared with VBench itself: `python -m genkit.benchmarks.parity`."""
