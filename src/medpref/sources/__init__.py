"""Raw data -> Example. Importing it fills the registry of sources."""

from medpref.sources import dicom_folder, jsonl, pack, phantom  # noqa: F401  (each registers its components)
