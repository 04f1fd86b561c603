"""Attention operators, a folder each: the definition, the kernels, and the choice between them."""
