"""(Example, reply) in, verdict out. Importing it fills the registry of judges."""

from medpref.judging import (  # noqa: F401  (each registers its components)
    agreement,
    chat_relevance,
    confidence,
    exact,
    findings,
    overlap,
    panel,
    relevance,
)
