"""The models that a recipe's localizers name, with their hash: what decides regions beside the recipe itself.

Knows: the keys under which a localizer names a model. Does not know: what it finds. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medpref.errors import ModelError
from medpref.models.fingerprint import checkpoint, fingerprint, require_policy

NAMED: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "segmenter": ("model", checkpoint),
    "policy_saliency": ("policy", require_policy),
}


def require_models(builders: Sequence[Mapping[str, Any]]) -> None:
    """Raise ModelError where a shipped localizer names a model that cannot be meant; none is loaded."""
    for told in _localizers(builders):
        key, require = NAMED.get(str(told.get("kind")), ("", str))
        if not told.get(key):
            continue
        try:
            require(str(told[key]))
        except ModelError as error:
            where = f"localize.{key} {told[key]}"
            raise ModelError(where, given=error.given, expected=error.expected, todo=error.todo) from None


def signature(builders: Sequence[Mapping[str, Any]]) -> list[str]:
    """``SPEC~HASH`` of every model that a localizer names, in order; ModelError where one cannot be meant.

    >>> signature([{"localize": "given_regions"}, {"localize": {"kind": "segmenter", "model": "hf:a/b"}}])
    ['hf:a/b~976dd1ca']
    """
    require_models(builders)
    found = {str(told[key]) for told in _localizers(builders) for key in ("model", "policy") if told.get(key)}
    return [f"{spec}~{fingerprint(spec)[:8]}" for spec in sorted(found)]


def _localizers(builders: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The localizers that are written as mappings: the others name nothing."""
    return [told for told in (builder.get("localize") for builder in builders) if isinstance(told, Mapping)]
