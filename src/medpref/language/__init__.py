"""Strings in, values out: word diffs, clinical mentions with negation, answer normalisers, rule-based edits."""
