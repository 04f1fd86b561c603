"""One attention call as rules see it, dense attention, and the record of a run."""
