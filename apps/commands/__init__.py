"""Subcommands of `genkit`."""
