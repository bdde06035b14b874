"""The families that medpref reads, by ``config.model_type``."""

from __future__ import annotations

from medpref.errors import ModelError, nearest
from medpref.models.family import Family
from medpref.models.family_gemma import GEMMA3
from medpref.models.family_idefics import IDEFICS3
from medpref.models.family_internvl import INTERNVL
from medpref.models.family_llava import LLAVA, LLAVA_NEXT
from medpref.models.family_qwen import QWEN3_VL, QWEN_VL

FAMILIES: tuple[Family, ...] = (LLAVA, LLAVA_NEXT, QWEN_VL, QWEN3_VL, GEMMA3, INTERNVL, IDEFICS3)


def family_of(model_type: str, *, where: str) -> Family:
    """The family of a model type; ModelError names the nearest known ones."""
    table = {kind: family for family in FAMILIES for kind in family.model_types}
    if model_type not in table:
        raise ModelError(
            where,
            given=f"model type {model_type!r}",
            expected="a vision-language model of a known family",
            todo=nearest(model_type, table),
        )
    return table[model_type]
