"""A word of warning, once a process, where a recipe asks for a released defect by name."""

from __future__ import annotations

import logging
from functools import cache

logger = logging.getLogger(__name__)


@cache
def warn_legacy(name: str, *, does: str, instead: str) -> None:
    """Log what a legacy option does and what to use instead; the second call with the same words is silent."""
    logger.warning(
        "%s repeats a released defect: it %s; use %s for anything but that release's numbers", name, does, instead
    )
