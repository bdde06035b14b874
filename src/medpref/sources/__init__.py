"""Raw data -> Example. Importing it fills the registry of sources."""

from medpref.sources import (  # noqa: F401  (each registers its components)
    dicom_folder,
    hub,
    iu_xray,
    jsonl,
    mimic_cxr,
    pack,
    path_vqa,
    phantom,
    slake,
    vqa_med,
    vqa_rad,
)
