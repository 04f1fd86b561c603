"""Store of jobs, with its worker and its keeper."""
