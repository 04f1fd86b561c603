"""The job store, its worker and its keeper."""
