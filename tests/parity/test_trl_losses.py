"""Losses and gradients against TRL 1.16's own trainers, on one tiny text model and one batch, in float32.

``DPOTrainer._compute_loss`` runs whole: collator, fused head, reference model. Ours reads the same model's logits
through ``log_softmax``. Where TRL differs by definition, the difference is asserted, so that a change there is noticed.
"""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch

from medpref.objectives import BranchScores, Totals, parse_objective, rewards
from medpref.schema import Branch
from tests.parity.tiny_trl import read, tiny_tokenizer, trainer_of

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
trl = pytest.importorskip("trl")
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.skipif(trl.__version__ != "1.16.0", reason="the parity is with TRL 1.16.0"),
]

C, R, OTHER = (Branch.parse(name) for name in ("clean/chosen", "clean/rejected", "clean/other"))
PAIRS = [
    ("is there a mass ?", "yes a small mass in the left lung", "no"),
    ("is there a nodule ?", "no", "yes a large nodule in the right upper lung"),
    ("is the lung normal ?", "no there is a pleural effusion", "yes the lung is normal"),
    ("is there a pleural effusion ?", "yes", "no"),
]
BETA = 0.7
MARGIN = {"kind": "margin", "better": str(C), "worse": str(R), "beta": BETA}


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer([text for pair in PAIRS for text in pair])


@pytest.fixture(scope="module")
def dpo(tokenizer, tmp_path_factory):
    rows = [{"prompt": q + " ", "chosen": a, "rejected": b} for q, a, b in PAIRS]
    out = tmp_path_factory.mktemp("dpo")
    return trainer_of(
        trl.DPOTrainer, trl.DPOConfig, tokenizer=tokenizer, rows=rows, out=out, beta=BETA, use_weighting=True
    )


def scores_of(trainer, batch):
    parts = [batch[key].chunk(2) for key in ("input_ids", "attention_mask", "completion_mask")]
    return {b: read(trainer.model, trainer.ref_model, *(p[i] for p in parts)) for i, b in enumerate((C, R))}


def outcome(loss, model):
    """The loss and its gradient into every parameter, as one vector."""
    grads = torch.autograd.grad(loss, list(model.parameters()))
    return loss.detach(), torch.cat([grad.flatten() for grad in grads])


def ours(trainer, batch, config):
    scores = scores_of(trainer, batch)
    totals = Totals(len(PAIRS), {branch: int(value.mask.sum()) for branch, value in scores.items()})
    per_pair = parse_objective(config)(scores, torch.ones(len(PAIRS)), totals).per_pair
    return outcome(per_pair.sum() / totals.pairs, trainer.model)


def theirs(trainer, batch, monkeypatch, loss_types, **options):
    """TRL's loss with other options; an option that is absent has its default."""
    return outcome(their_loss(trainer, batch, monkeypatch, loss_types, **options), trainer.model)


def their_loss(trainer, batch, monkeypatch, loss_types, **options):
    defaults = {
        "label_smoothing": 0.0,
        "ld_alpha": None,
        "f_divergence_type": "reverse_kl",
        "f_alpha_divergence_coef": 0.5,
        "use_weighting": False,
        "loss_weights": [1.0] * len(loss_types),
    }
    for name, value in {**defaults, **options, "loss_types": loss_types}.items():
        assert hasattr(trainer, name)
        monkeypatch.setattr(trainer, name, value)
    return trainer._compute_loss(trainer.model, batch, False)


def assert_same(one, two):
    torch.testing.assert_close(one[0], two[0], rtol=1e-5, atol=1e-7)
    assert one[1].norm() > 1e-4
    assert (one[1] - two[1]).norm() <= 1e-5 * one[1].norm()


SMOOTH = {"label_smoothing": 0.1}
CASES = {
    **{
        link: ([{**MARGIN, "link": link}], [link], {})
        for link in [
            "sigmoid", "hinge", "ipo", "robust", "nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
            "apo_zero", "apo_down", "discopop", "sigmoid_norm",
        ]
    },
    **{
        f"{link}-smoothed": ([{**MARGIN, "link": link, **SMOOTH}], [link], SMOOTH)
        for link in ["robust", "exo_pair", "aot", "aot_unpaired"]
    },
    **{
        f"{link}-{kind}": ([{**MARGIN, "link": link, "f_divergence": kind}], [link], {"f_divergence_type": kind})
        for link in ["sigmoid", "sigmoid_norm", "hinge", "ipo", "robust", "discopop"]
        for kind in ["forward_kl", "js_divergence", "alpha_divergence"]
    },
    "exo_pair-js": (
        [{**MARGIN, "link": "exo_pair", "f_divergence": "js_divergence", **SMOOTH}],
        ["exo_pair"],
        {"f_divergence_type": "js_divergence", **SMOOTH},
    ),
    "alpha-1.5": (
        [{**MARGIN, "f_divergence": "alpha_divergence", "f_alpha": 1.5}],
        ["sigmoid"],
        {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 1.5},
    ),
    **{
        f"{link}-ld": ([{**MARGIN, "link": link, "ld_alpha": 0.3}], [link], {"ld_alpha": 0.3})
        for link in ["sigmoid", "ipo", "bco_pair", "sigmoid_norm", "aot"]
    },
    **{
        f"{link}-wpo": ([{**MARGIN, "link": link, "weighting": "wpo"}], [link], {"use_weighting": True})
        for link in ["sigmoid", "ipo", "apo_zero", "discopop"]
    },
    "sft": ([{"kind": "likelihood", "branch": str(C)}], ["sft"], {}),
    "mpo": (
        [
            {**MARGIN, "weight": 0.8},
            {**MARGIN, "link": "bco_pair", "weight": 0.2},
            {"kind": "likelihood", "branch": str(C)},
        ],
        ["sigmoid", "bco_pair", "sft"],
        {"loss_weights": [0.8, 0.2, 1.0]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_trl_s(name, dpo, monkeypatch):
    trainer, batch = dpo
    config, loss_types, options = CASES[name]
    assert_same(ours(trainer, batch, config), theirs(trainer, batch, monkeypatch, loss_types, **options))


def test_every_loss_type_of_trl_is_compared():
    import inspect
    import re

    source = inspect.getsource(trl.DPOTrainer._compute_loss)
    named = set(re.findall(r'loss_type == "(\w+)"', source))
    compared = {loss for _, loss_types, _ in CASES.values() for loss in loss_types}
    assert named == compared
    assert len(named) == 15


def test_trl_ignores_label_smoothing_of_sigmoid_and_we_do_not(dpo, monkeypatch):
    trainer, batch = dpo
    smoothed = theirs(trainer, batch, monkeypatch, ["sigmoid"], **SMOOTH)
    assert_same(smoothed, ours(trainer, batch, [MARGIN]))
    assert not torch.allclose(smoothed[0], ours(trainer, batch, [{**MARGIN, **SMOOTH}])[0], rtol=1e-3)


def test_hinge_with_wpo_has_a_gradient_here_and_none_in_trl(dpo, monkeypatch):
    trainer, batch = dpo
    value, gradient = ours(trainer, batch, [{**MARGIN, "link": "hinge", "weighting": "wpo"}])
    loss = their_loss(trainer, batch, monkeypatch, ["hinge"], use_weighting=True)
    torch.testing.assert_close(value, loss.detach(), rtol=1e-5, atol=1e-7)
    assert gradient.isfinite().all()
    with pytest.raises(RuntimeError, match="inplace"):  # TRL multiplies the output of relu in place
        loss.backward()


def test_rewards_and_log_probabilities_are_the_ones_trl_logs(dpo, monkeypatch):
    trainer, batch = dpo
    trainer._metrics["eval"].clear()
    theirs(trainer, batch, monkeypatch, ["ipo"])
    got = rewards(parse_objective([{**MARGIN, "link": "ipo"}]), scores_of(trainer, batch))
    for name, values in got.items():
        assert float(values.mean()) == pytest.approx(trainer._metrics["eval"][name][-1], rel=1e-5), name


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("link", ["simpo", "cpo"])
def test_reference_free_links_are_the_cpo_trainer_s(link, label_smoothing, dpo):
    from trl.experimental.cpo import CPOTrainer

    trainer, batch = dpo
    scores = scores_of(trainer, batch)
    lengths = {branch: value.mask.sum(1) if link == "simpo" else 1 for branch, value in scores.items()}
    held = SimpleNamespace(
        alpha=0.0,
        loss_type="simpo" if link == "simpo" else "sigmoid",
        simpo_gamma=0.4,
        beta=BETA,
        label_smoothing=label_smoothing,
        accelerator=SimpleNamespace(device="cpu"),
    )
    losses, chosen, rejected = CPOTrainer.cpo_loss(held, *(scores[b].policy.sum(1) / lengths[b] for b in (C, R)))
    extra = {"gamma": 0.4} if link == "simpo" else {}
    config = [{**MARGIN, "link": link, "label_smoothing": label_smoothing, **extra}]
    assert_same(ours(trainer, batch, config), outcome(losses.mean(), trainer.model))
    logged = rewards(parse_objective(config), scores)
    torch.testing.assert_close(logged["rewards/chosen"], chosen)
    torch.testing.assert_close(logged["rewards/rejected"], rejected)


def test_orpo_is_the_orpo_trainer_s_odds_ratio(dpo):
    from trl.experimental.orpo import ORPOTrainer

    trainer, batch = dpo
    scores = scores_of(trainer, batch)
    means = [scores[b].policy.sum(1) / scores[b].mask.sum(1) for b in (C, R)]
    losses, *_ = ORPOTrainer.odds_ratio_loss(
        SimpleNamespace(beta=BETA, accelerator=SimpleNamespace(device="cpu")), *means
    )
    # TRL subtracts the mean of these from the likelihood, which it takes over prompt and reply; ours over the reply.
    assert_same(ours(trainer, batch, [{**MARGIN, "link": "orpo"}]), outcome(-losses.mean(), trainer.model))


@pytest.fixture(scope="module")
def kto(tokenizer, tmp_path_factory):
    rows = [{"prompt": q + " ", "completion": a, "label": True} for q, a, _ in PAIRS[:3]]
    rows += [{"prompt": q + " ", "completion": b, "label": False} for q, _, b in PAIRS[1:]]
    weights = {"desirable_weight": 1.5, "undesirable_weight": 0.5}
    out = tmp_path_factory.mktemp("kto")
    return trainer_of(trl.KTOTrainer, trl.KTOConfig, tokenizer=tokenizer, rows=rows, out=out, beta=BETA, **weights)


def test_kto_is_the_kto_trainer_s(kto):
    """Each example is a pair with one side; the mismatched replies are the third branch."""
    trainer, batch = kto
    label = torch.as_tensor(batch["label"], dtype=torch.bool)
    models = (trainer.model, trainer.ref_model)
    whole = read(*models, batch["input_ids"], batch["attention_mask"], batch["completion_mask"])
    other = read(*models, batch["KL_input_ids"], batch["KL_attention_mask"], batch["KL_completion_mask"])

    def only(rows):
        keep = rows[:, None]
        values = (whole.policy.where(keep, 0), whole.reference.where(keep, 0), whole.mask & keep, whole.spans)
        return BranchScores(*values, present=rows)

    scores = {C: only(label), R: only(~label), OTHER: other}
    config = {"kind": "kto", "better": str(C), "worse": str(R), "kl": str(OTHER), "beta": BETA}
    objective = parse_objective([{**config, "desirable_weight": 1.5, "undesirable_weight": 0.5}])
    loss = objective(scores, torch.ones(len(label)), Totals(len(label))).per_pair.mean()
    found = outcome(loss, trainer.model)
    trainer._metrics["eval"].clear()
    assert_same(found, outcome(trainer._compute_loss(trainer.model, batch, False), trainer.model))
    assert trainer._metrics["eval"]["kl"][-1] > 0
