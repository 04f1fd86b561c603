"""The commands `genkit bench ...`: attention, kernels, steps, launch numbers."""
