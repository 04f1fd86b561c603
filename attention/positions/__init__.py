"""Plans of positions in time: an adapter for each way in which models make theirs."""
