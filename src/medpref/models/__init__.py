"""Policies: vision-language models that can be prompted, read branch by branch and sampled."""
