"""medpref aligns medical vision-language models with preference optimization. Importing it loads no torch."""

__version__ = "0.1.0"
