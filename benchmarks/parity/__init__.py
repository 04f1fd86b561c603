"""The suite `vbench` against VBench itself: `python -m genkit.benchmarks.parity`."""
