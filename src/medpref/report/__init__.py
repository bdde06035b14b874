"""A finished run as one self-contained page, a model card and an index. Reads run folders only; loads no torch."""

from medpref.report.page import write_report

__all__ = ["write_index", "write_model_card", "write_report"]
