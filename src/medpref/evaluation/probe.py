"""Is it looking? Log-probability of the answer, and the decision, when what is shown changes.

Causal grounding = log p(answer | background hidden) - log p(answer | lesion hidden): what hiding the lesion costs
beyond what hiding an equal area elsewhere costs. Decisions of closed questions are forced choices: the choice with
the highest log-probability (its end token included, so that "no" does not win by being short); the confidence is
that choice's share after normalising over the choices.

Knows: pairs in memory whose views are named for what they show, and a reader that scores branches. Does not know:
the engine, or how the views were made (``views.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from medpref.evaluation.views import BACKGROUND, BLIND, COUNTERFACTUAL, LESION, WRONG, Views
from medpref.evaluation.vqa import choices_of, row_of
from medpref.language.answers import normalise
from medpref.schema import CHOSEN, CLEAN, Branch, Example, PreferencePair, Reply, VerdictRow

Read = Callable[[Sequence[PreferencePair]], list[dict[Branch, float]]]
OPEN_VIEWS = (CLEAN, LESION, BACKGROUND, BLIND)
NO_QUESTION = "?"
REPORT_VIEWS = (CLEAN, LESION, BACKGROUND)


def probe_pair(example: Example, views: Views) -> PreferencePair:
    """The example as a pair: ``chosen`` is the reference answer, ``choice_1`` ... are the other choices."""
    closed = example.answer_type == "closed" and bool(choices_of(example))
    kept = tuple(views) if closed else (REPORT_VIEWS if example.answer_type == "report" else OPEN_VIEWS)
    texts = {CHOSEN: example.answer}
    if closed:
        others = [choice for choice in choices_of(example) if normalise(choice) != normalise(example.answer)]
        texts |= {f"choice_{number}": styled(choice, example.answer) for number, choice in enumerate(others, 1)}
    return PreferencePair(
        id=f"{example.id}/probe",
        example=example.id,
        patient=example.patient,
        question=example.question,
        views={view: images for view, images in views.items() if view in kept},
        replies={name: Reply(text=text, author="probe") for name, text in texts.items()},
        kind=example.kind,
    )


def question_blind(pair: PreferencePair) -> PreferencePair | None:
    """The closed pair's clean image and choices without its question; None for one that has no choices."""
    if len(pair.replies) < 2:
        return None
    views = {CLEAN: pair.views[CLEAN]}
    return pair.model_copy(update={"id": f"{pair.id}/no-question", "question": NO_QUESTION, "views": views})


def question_blind_row(example: Example, pair: PreferencePair, log_probs: Mapping[Branch, float]) -> VerdictRow:
    """Whether the forced choice is right without the question: what the choices alone give away."""
    text, _ = decide(pair, CLEAN, log_probs)
    right = float(text == pair.replies[CHOSEN].text)
    return row_of(example, "question_blind_accuracy", right, reason=f"chose {text!r} without the question")


def styled(choice: str, answer: str) -> str:
    """A choice written the way the reference answer is: capitals, full stop; so that style does not decide.

    >>> styled("no", "Yes.")
    'No.'
    """
    text = choice.strip()
    if answer.isupper() and len(answer) > 1:
        text = text.upper()
    elif answer[:1].isupper():
        text = text[:1].upper() + text[1:]
    return text + "." if answer.rstrip().endswith(".") and not text.endswith(".") else text


def probe_all(examples: Sequence[Example], pairs: Sequence[PreferencePair], read: Read) -> list[list[VerdictRow]]:
    """The rows of several probed examples, read together, so that what they share is computed once."""
    blind = [question_blind(pair) for pair in pairs]
    found = iter(read([*pairs, *(pair for pair in blind if pair is not None)]))
    rows = [probe_rows(example, pair, next(found)) for example, pair in zip(examples, pairs, strict=True)]
    for held, example, unasked in zip(rows, examples, blind, strict=True):
        if unasked is not None:
            held.append(question_blind_row(example, unasked, next(found)))
    return rows


def probe_rows(example: Example, pair: PreferencePair, log_probs: Mapping[Branch, float]) -> list[VerdictRow]:
    """The rows of one probed example; ``log_probs`` are nats summed over a reply's tokens, end token included."""
    chosen = {view: log_probs[Branch(view, CHOSEN)] for view in pair.views}
    evidence = {f"log_prob/{view}": f"{value:.6f}" for view, value in sorted(chosen.items())}
    report = example.answer_type == "report"
    rows = []
    if not report:
        rows.append(row_of(example, "answer_log_prob", chosen[CLEAN], evidence=evidence))
    if LESION in chosen and BACKGROUND in chosen:
        drop = chosen[BACKGROUND] - chosen[LESION]
        name = "report_grounding_drop" if report else "grounding_drop"
        rows.append(
            row_of(example, name, drop, reason="nats, lesion hidden beyond background hidden", evidence=evidence)
        )
    if BLIND in chosen:
        rows.append(row_of(example, "blind_drop", chosen[CLEAN] - chosen[BLIND], reason="nats, grey image"))
    if len(pair.replies) > 1:
        rows += _decision_rows(example, pair, log_probs)
    return rows


def _decision_rows(example: Example, pair: PreferencePair, log_probs: Mapping[Branch, float]) -> list[VerdictRow]:
    said = {view: decide(pair, view, log_probs) for view in pair.views}
    right = {view: float(text == pair.replies[CHOSEN].text) for view, (text, _) in said.items()}
    evidence = {f"decision/{view}": text for view, (text, _) in sorted(said.items())}
    evidence |= {"answer": pair.replies[CHOSEN].text, "confidence": f"{said[CLEAN][1]:.6f}"}
    rows = [row_of(example, "choice_accuracy", right[CLEAN], reason=f"chose {said[CLEAN][0]!r}", evidence=evidence)]
    if BLIND in said:
        rows.append(row_of(example, "blind_accuracy", right[BLIND]))
        rows.append(row_of(example, "visual_reliance", right[CLEAN] - right[BLIND]))
    if WRONG in said:
        rows.append(row_of(example, "wrong_image_accuracy", right[WRONG]))
    if LESION in said and BACKGROUND in said:
        lesion, background = (float(said[view][0] != said[CLEAN][0]) for view in (LESION, BACKGROUND))
        rows.append(row_of(example, "flip_rate_lesion", lesion))
        rows.append(row_of(example, "flip_rate_background", background))
        rows.append(row_of(example, "grounding_flip", lesion - background))
    return rows + (_counterfactual_rows(example, said) if COUNTERFACTUAL in said else [])


def _counterfactual_rows(example: Example, said: Mapping[str, tuple[str, float]]) -> list[VerdictRow]:
    """Right on both images, and the share of decisions that change where the answer does; none where it is unknown."""
    wanted = normalise(example.counterfactual_answer or "")
    if wanted not in [normalise(choice) for choice in choices_of(example)]:
        return []
    before, after = normalise(said[CLEAN][0]), normalise(said[COUNTERFACTUAL][0])
    both = float(before == normalise(example.answer) and after == wanted)
    reason = f"{after!r} for {wanted!r} without the lesion"
    rows = [row_of(example, "counterfactual_accuracy", both, reason=reason)]
    if wanted != normalise(example.answer):
        rows.append(row_of(example, "counterfactual_flip", float(before != after), reason=reason))
    return rows


def decide(pair: PreferencePair, view: str, log_probs: Mapping[Branch, float]) -> tuple[str, float]:
    """The most probable choice under a view and its probability among the choices; equal ones go by name."""
    scores = {pair.replies[name].text: log_probs[Branch(view, name)] for name in pair.replies}
    best = min(scores, key=lambda text: (-scores[text], text))
    return best, 1 / sum(math.exp(value - scores[best]) for value in scores.values())
