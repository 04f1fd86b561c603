"""Plans of temporal positions: an adapter for each way in which models compute theirs."""
