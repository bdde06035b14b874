"""From examples to pairs that mean something. Importing it fills the registries, the localizers too."""

from medpref.curation import (  # noqa: F401  (each registers its components)
    denial,
    expand,
    mine,
    neighbour,
    policy_saliency,
    rationale,
    revise,
    reweigh,
    screens,
    segmenter,
    wrap,
    write,
)
