"""Published report metrics that need models of their own, by the package ``radeval`` (extra ``metrics``).

Each is asked for a score a report, so that intervals over patients and paired differences hold for them as for all
others. CheXbert's F1 is of a whole corpus; what a single report has is the share of conditions labelled alike.

Knows: radeval's call and the names of its scores (version 2: ``RadEval(metrics=[...], per_sample=True)``). Does not
know: how a score comes about; weights are fetched and loaded by that package.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from medpref.errors import ModelError
from medpref.evaluation.vqa import row_of
from medpref.schema import Example, VerdictRow

Scores = Mapping[str, Sequence[float | None]]
Scorer = Callable[[list[str], list[str]], Scores]
NAMES: Mapping[str, Mapping[str, str]] = {
    "radgraph": {
        "radgraph_simple": "radgraph_f1_simple",
        "radgraph_partial": "radgraph_f1",
        "radgraph_complete": "radgraph_f1_complete",
    },
    "f1chexbert": {
        "f1chexbert_sample_acc_5": "chexbert_agreement_5",
        "f1chexbert_sample_acc_all": "chexbert_agreement",
    },
    "green": {"green": "green"},
    "ratescore": {"ratescore": "ratescore"},
    "bertscore": {"bertscore": "bertscore_f1"},
}
MODULES = ("radeval", "RadEval")


def require_radeval() -> str:
    """The name under which the package can be imported; ModelError where it is not installed."""
    found = [name for name in MODULES if importlib.util.find_spec(name) is not None]
    if not found:
        given, todo = "the package radeval is not installed", "pip install 'medpref[metrics]'"
        raise ModelError("evaluation.radeval", given=given, expected="its metrics", todo=todo)
    return found[0]


@functools.cache
def _evaluator(name: str) -> Any:
    module = importlib.import_module(require_radeval())
    return module.RadEval(metrics=[name], per_sample=True, show_progress=False)


def scorer_of(name: str) -> Scorer:
    """The scorer of one metric; its models are loaded when one of that name is first called, and kept."""
    return lambda references, replies: dict(_evaluator(name)(refs=references, hyps=replies))


@contextlib.contextmanager
def scorers_kept() -> Iterator[None]:
    """What scorers load inside is loaded once for all models that are evaluated there, and let go at the end."""
    try:
        yield
    finally:
        _evaluator.cache_clear()


def clinical_scores(
    name: str, examples: Sequence[Example], *, replies: Mapping[str, str], score: Scorer
) -> list[dict[str, float | None]]:
    """Of each report our metrics' values, None for not judged; an empty reply has 0 and is not asked about.

    ModelError where the package answers with other names or another number of scores than it says.
    """
    asked = [place for place, example in enumerate(examples) if replies[example.id].strip()]
    references = [examples[place].answer for place in asked]
    said = [replies[examples[place].id] for place in asked]
    given = score(references, said) if asked else dict.fromkeys(NAMES[name], ())
    found: list[dict[str, float | None]] = [dict.fromkeys(NAMES[name].values(), 0.0) for _ in examples]
    for key, metric in NAMES[name].items():
        values = list(given.get(key, ()))
        if len(values) != len(asked):
            told = f"{len(values)} values of {key}" if key in given else f"no {key}, but {', '.join(sorted(given))}"
            expected = f"{key} of {len(asked)} reports (radeval 2.2 or later)"
            raise ModelError(f"radeval {name}", given=told, expected=expected, todo="check its version")
        for place, value in zip(asked, values, strict=True):
            found[place][metric] = None if value is None or not math.isfinite(value) else float(value)
    return found


def clinical_rows(
    name: str, examples: Sequence[Example], scores: Mapping[str, Mapping[str, float | None]]
) -> list[VerdictRow]:
    """The rows of :func:`clinical_scores` (by the examples' ids), metric by metric, in the order of the examples."""
    return [
        row_of(example, metric, value, reason="radeval" if value is not None else "radeval gave no score")
        for metric in NAMES[name].values()
        for example in examples
        for value in (scores[example.id][metric],)
    ]
