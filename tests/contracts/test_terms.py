"""Every registered term, in every form, keeps the contract; deliberately broken terms are caught."""

from __future__ import annotations

from typing import Any, Literal, get_args

import pytest
import torch
import torch.nn.functional as F

from medpref.objectives import LINKS, Needs, Term, parse_objective
from medpref.objectives.links import LinkName
from medpref.objectives.tokens import reference, total
from medpref.registry import TERMS
from medpref.schema import Branch
from medpref.testing.terms import check_term

C, R = "clean/chosen", "clean/rejected"
CC, CR = "corrupt/chosen", "corrupt/rejected"
PAIR = {"kind": "margin", "better": C, "worse": R}
EXO = {"label_smoothing": 1e-3}

FORMS: list[dict[str, Any]] = [
    *({**PAIR, "link": link, **(EXO if link == "exo_pair" else {})} for link in LINKS),
    *({**PAIR, "link": link, "label_smoothing": 0.1} for link in ("sigmoid", "robust", "simpo", "cpo", "aot")),
    *({**PAIR, "f_divergence": kind} for kind in ("forward_kl", "js_divergence", "alpha_divergence")),
    *({**PAIR, "link": link, "tokens": "spans"} for link in ("sigmoid", "orpo", "ipo", "nca_pair")),
    {**PAIR, "tokens": "outside"},
    {**PAIR, "normalise": "length"},
    {**PAIR, "span_weight": 3.0},
    {**PAIR, "ld_alpha": 0.5},
    {**PAIR, "weighting": "wpo"},
    {"kind": "margin", "better": C, "worse": CC},
    {"kind": "margin", "better": CR, "worse": CC, "tokens": "spans"},
    {"kind": "margin", "better": C, "worse": CR},
    {"kind": "anchor", "branch": C},
    {"kind": "anchor", "branch": CR, "direction": "down", "delta": 0.2, "tokens": "spans"},
    *({"kind": "likelihood", "branch": C, "mean_over": over} for over in ("tokens", "pair", "batch")),
    {"kind": "likelihood", "branch": C, "mean_over": "pair", "tokens": "spans"},
    {"kind": "token_kl", "branch": C, "forward": 0.5, "reverse": 0.5, "tokens": "spans"},
    {"kind": "token_kl", "branch": C, "forward": 1.0},
    {"kind": "token_kl", "branch": C, "reverse": 1.0, "tokens": "outside", "reduce": "mean"},
    {"kind": "tdpo", "better": C, "worse": R},
    {"kind": "kto", "better": C, "worse": CC},
    {"kind": "kto", "better": C, "worse": R, "desirable_weight": 1.5, "undesirable_weight": 0.5, "kl": "clean/other"},
    {"kind": "perception", "branch": C, "against": CC},
    {"kind": "perception", "branch": R, "against": CR, "tokens": "spans", "reduce": "sum"},
    {"kind": "consistency", "better": C, "worse": R, "other_better": CR, "other_worse": CC},
]


def _label(form: dict[str, Any]) -> str:
    return "-".join(str(value) for value in form.values())


@pytest.mark.parametrize("form", FORMS, ids=_label)
def test_a_registered_term_keeps_the_contract(form):
    check_term(TERMS.parse(form, where="test"))


def test_every_registered_kind_and_link_is_tested():
    ours = {kind for kind, cls in TERMS.classes().items() if cls.__module__.startswith("medpref.")}
    assert {form["kind"] for form in FORMS} == ours
    assert set(get_args(LinkName)) == set(LINKS) == {form.get("link", "sigmoid") for form in FORMS if "better" in form}


@pytest.mark.parametrize("form", FORMS, ids=_label)
def test_an_objective_of_the_term_round_trips_as_data(form):
    objective = parse_objective([{**form, "weight": 0.3}])
    assert parse_objective(objective.as_data()) == objective


class _Broken(Term):
    """A DPO margin, correct until a subclass spoils it."""

    kind: Literal["broken"] = "broken"

    @property
    def needs(self):
        both = frozenset({Branch.parse(C), Branch.parse(CC)})
        return Needs(branches=both, reference=both)

    @property
    def name(self):
        return "broken"

    def ratio(self, scores, text):
        branch = Branch.parse(text)
        return total(scores[branch].policy - reference(scores, branch), scores[branch].mask)

    def present(self, scores):
        return scores[Branch.parse(C)].present & scores[Branch.parse(CC)].present

    def loss(self, scores):
        return -F.logsigmoid(0.1 * (self.ratio(scores, C) - self.ratio(scores, CC)))

    def __call__(self, scores, totals):
        return self.loss(scores).where(self.present(scores), 0)


class _NeverReadsTheCorruptImage(_Broken):
    """The released mDPO: the image leg is the text leg again, and the loss still starts at 2 ln 2."""

    @property
    def needs(self):
        branches = frozenset(map(Branch.parse, (C, R, CC)))
        return Needs(branches=branches, reference=branches)

    def __call__(self, scores, totals):
        text = -F.logsigmoid(0.1 * (self.ratio(scores, C) - self.ratio(scores, R)))
        image = -F.logsigmoid(0.1 * (self.ratio(scores, C) - self.ratio(scores, R)))
        return (text + image).where(scores[Branch.parse(C)].present & scores[Branch.parse(R)].present, 0)


class _ReadsAndDropsTheCorruptImage(_Broken):
    def loss(self, scores):
        return -F.logsigmoid(0.1 * (self.ratio(scores, C) - 0 * self.ratio(scores, CC)))


class _AbsentIsZero(_Broken):
    """A pair without the corrupt view still pays and still pushes the clean branch up."""

    def present(self, scores):
        return scores[Branch.parse(C)].present


class _MasksAfterTheFact(_Broken):
    """The loss is right and the gradient is NaN where the branch is absent: sqrt(0) under a where."""

    def loss(self, scores):
        return super().loss(scores) + (self.ratio(scores, C) - self.ratio(scores, CC)).abs().sqrt()


class _CentredOnTheBatch(_Broken):
    def loss(self, scores):
        loss = super().loss(scores)
        return loss - 0.5 * loss.mean()


class _AveragesOverPadding(_Broken):
    def ratio(self, scores, text):
        branch = Branch.parse(text)
        return (scores[branch].policy - reference(scores, branch)).mean(1)


class _TrainsTheReference(_Broken):
    def ratio(self, scores, text):
        read = scores[Branch.parse(text)]
        return total(read.policy - read.reference, read.mask)


class _ReadsMoreThanItSays(_Broken):
    @property
    def needs(self):
        return Needs(branches=super().needs.branches, reference=frozenset({Branch.parse(C)}))


class _ForgetsTheReference(_Broken):
    def ratio(self, scores, text):
        read = scores[Branch.parse(text)]
        return total(read.policy, read.mask)


class _WritesIntoItsScores(_Broken):
    def ratio(self, scores, text):
        with torch.no_grad():
            scores[Branch.parse(text)].policy.mul_(0.5)
        return super().ratio(scores, text)


class _Overflows(_Broken):
    def loss(self, scores):
        return torch.log1p(torch.exp(-(self.ratio(scores, C) - self.ratio(scores, CC))))


class _SumsTheBatch(_Broken):
    def __call__(self, scores, totals):
        return super().__call__(scores, totals).sum()


BROKEN = {
    _NeverReadsTheCorruptImage: "corrupt/chosen but reads clean/chosen, clean/rejected$",
    _ReadsAndDropsTheCorruptImage: "declares corrupt/chosen, which does not change its loss",
    _AbsentIsZero: "is not 0 for a pair without corrupt/chosen",
    _MasksAfterTheFact: "has a gradient that is not finite",
    _CentredOnTheBatch: "depends on the other pairs",
    _AveragesOverPadding: "changes with padding",
    _TrainsTheReference: "sends a gradient into clean/chosen.reference",
    _ForgetsTheReference: "declares the reference of clean/chosen, which does not change its loss",
    _WritesIntoItsScores: "writes into its scores",
    _Overflows: "is not finite at log-ratio spread",
    _SumsTheBatch: "not one number per pair",
}


def test_the_honest_ancestor_passes():
    check_term(_Broken())


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_term_is_caught(cls):
    with pytest.raises(AssertionError, match=BROKEN[cls]):
        check_term(cls())


def test_reading_an_undeclared_reference_fails_loudly():
    with pytest.raises(Exception, match=r"list corrupt/chosen in the term's needs.reference"):
        check_term(_ReadsMoreThanItSays())
