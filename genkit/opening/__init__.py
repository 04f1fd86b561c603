"""Opening what users have: single files, GGUF, quantised weights, LoRA, other solvers, and how weights are stored."""
