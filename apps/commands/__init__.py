"""The subcommands of `genkit`."""
