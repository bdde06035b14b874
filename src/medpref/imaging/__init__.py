"""Arrays in, arrays out: decode, regions, localizers, corruptions, comparison. Importing it fills the registries."""

from medpref.imaging import (  # noqa: F401  (each registers its components)
    corrupt_control,
    corrupt_fill,
    corrupt_geometry,
    corrupt_mirror,
    corrupt_noise,
    heatmap,
    localize,
)
