"""(Example, reply) in, verdict out. Importing it fills the registry of judges."""

from medpref.judging import (  # noqa: F401  (each registers its components)
    agreement,
    confidence,
    exact,
    findings,
    overlap,
    relevance,
)
