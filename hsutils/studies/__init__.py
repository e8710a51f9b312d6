"""Studies over many runs: one table each."""
