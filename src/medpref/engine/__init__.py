"""The engine: branches to per-token log-probabilities, every distinct token once."""
