"""SFT and preference training through one trainer: the same pairs, the same engine, another objective."""
