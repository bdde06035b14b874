"""Peers' preference formats, both ways: TRL, LLaMA-Factory, ms-swift, MMedPO, RRPO, and our own."""
