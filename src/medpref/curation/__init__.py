"""From examples to pairs that mean something. Importing it fills the registries of writers, miners and screens."""

from medpref.curation import (  # noqa: F401  (each registers its components)
    expand,
    mine,
    neighbour,
    rationale,
    revise,
    reweigh,
    screens,
    wrap,
    write,
)
