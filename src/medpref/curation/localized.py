"""The models that a recipe's localizers name, with their hash: what decides regions beside the recipe itself.

Knows: the keys under which a localizer names a model. Does not know: what it finds. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medpref.errors import ModelError
from medpref.models.fingerprint import fingerprint, require_policy


def signature(builders: Sequence[Mapping[str, Any]]) -> list[str]:
    """``SPEC~HASH`` of every model that a localizer names, in order; ModelError where a policy cannot be meant.

    >>> signature([{"localize": "given_regions"}, {"localize": {"kind": "segmenter", "model": "hf:a/b"}}])
    ['hf:a/b~976dd1ca']
    """
    found = set()
    for told in (builder.get("localize") for builder in builders):
        if not isinstance(told, Mapping):
            continue
        if told.get("policy"):
            _require(str(told["policy"]))
        found |= {str(told[key]) for key in ("model", "policy") if told.get(key)}
    return [f"{spec}~{fingerprint(spec)[:8]}" for spec in sorted(found)]


def _require(policy: str) -> None:
    try:
        require_policy(policy)
    except ModelError as error:
        where = f"localize.policy {policy}"
        raise ModelError(where, given=error.given, expected=error.expected, todo=error.todo) from None
