"""Writers of a single reply: the reference, the policy's own, a plausible hallucination, a targeted error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from medpref.curation.chat_hallucinate import hallucinate
from medpref.curation.draft import Context, Draft, Refused
from medpref.curation.falsify import error_of, falsify, is_wrong, targeted
from medpref.judging.relevance import Relevance
from medpref.language.wording import styled
from medpref.registry import WRITERS
from medpref.schema import Example, Frozen, Reply

ErrorType = Literal[
    "modality", "sequence", "contrast", "plane", "organ", "side", "presence", "zone", "size", "severity", "count",
    "finding", "device", "normality", "change",
]  # fmt: skip


@WRITERS.add
class Reference(Frozen):
    """The dataset's answer."""

    kind: Literal["reference"] = "reference"
    both: ClassVar[bool] = False

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        return Draft({role: Reply(text=example.answer.strip(), author="reference")})


@WRITERS.add
class Sample(Frozen):
    """A reply of the policy under alignment: its greedy one at temperature 0, else the first of ``n`` sampled ones.

    With ``corrupt`` the policy is shown the whole image under that corruption (POVID, arXiv:2402.11411); the pair's
    own views stay as they are.
    """

    kind: Literal["sample"] = "sample"
    both: ClassVar[bool] = False
    name: str = "own"
    corrupt: Mapping[str, Any] | None = Field(default=None, description="a corruption of the image it is shown")
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    n: int = Field(default=1, gt=0)
    max_new_tokens: int = Field(default=96, gt=0)

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        texts = replies_of(self, example, context)
        if not texts:
            return Refused("the policy gave no reply to this example")
        return Draft(
            {role: Reply(text=texts[0], author="policy")}, {"sampled": self.model_dump(exclude={"kind", "name"})}
        )


def replies_of(plan: Sample, example: Example, context: Context) -> list[str]:
    """The policy's non-empty replies under a sampling plan: the greedy one, or those sampled for it beforehand."""
    if plan.temperature == 0 and plan.corrupt is None:
        own = context.own.get(example.id)
        texts: tuple[str, ...] = (own.text,) if own else ()
    else:
        texts = context.samples.get(plan_key(plan), {}).get(example.id, ())
    return [text.strip() for text in texts if text.strip()]


def plan_key(plan: Sample) -> str:
    """What tells one sampling plan from another (its name does not)."""
    return plan.model_dump_json(exclude={"kind", "name"})


@WRITERS.add
class Hallucinate(Frozen):
    """MMedPO's text dispreference (arXiv:2412.06141, section 3.1): the policy's worst wrong reply, else a written one.

    Of the greedy reply and the ``n`` sampled ones, the one whose error matters most (the relevance judge), if it is
    wrong and alike in length to the chosen reply; else a rule-based variant of the chosen reply. ``by: chat``: the
    bound language model chooses or writes it.
    """

    kind: Literal["hallucinate"] = "hallucinate"
    both: ClassVar[bool] = False
    by: Literal["rules", "chat"] = "rules"
    n: int = Field(default=0, ge=0, description="sampled candidates besides the greedy reply")
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=96, gt=0)

    @property
    def plan(self) -> Sample | None:
        """The sampling this writer needs, if any."""
        fields = self.model_dump(include={"n", "temperature", "top_p", "max_new_tokens"})
        return Sample(**fields) if self.n else None

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        right = other.replies["chosen"].text if other else example.answer
        candidates = replies_of(Sample(), example, context)
        candidates += replies_of(self.plan, example, context) if self.plan else []
        fitting = sorted({styled(text, like=right) for text in candidates})
        wrong = [text for text in fitting if is_wrong(example, text, like=right)]
        if self.by == "chat":
            return hallucinate(example, right, wrong, context, role=role)
        if wrong:
            worst = max(wrong, key=lambda text: Relevance().judge(example, text).value or 0.0)
            told = {"error": error_of(example, worst), "made_by": "policy"}
            return Draft({role: Reply(text=worst, author="policy")}, told)
        made = falsify(example, right, context, purpose="hallucinate", whole_sentences=True)
        if made is None:
            return Refused("no plausible wrong reply: outside the lexicon and without a donor")
        return Draft({role: Reply(text=made.text, author=made.author)}, {"error": made.error, "made_by": made.author})


@WRITERS.add
class Targeted(Frozen):
    """A reply that differs from the chosen one by exactly one error of type ``error``."""

    kind: Literal["targeted"] = "targeted"
    both: ClassVar[bool] = False
    error: ErrorType

    def write(self, example: Example, context: Context, *, role: str, other: Draft | None) -> Draft | Refused:
        right = other.replies["chosen"].text if other else example.answer
        made = targeted(right, self.error, context.rng(f"targeted {self.error}", example))
        if made is None or not is_wrong(example, made.text, like=right):
            return Refused(f"the reply holds nothing to make a {self.error} error of")
        return Draft({role: Reply(text=made.text, author="targeted")}, {"error": self.error, "made_by": "targeted"})
