"""Training through the real trainer on a tiny random model: it learns, resumes bit for bit, refuses what it must."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medpref import store
from medpref.engine.encode import encode_pair
from medpref.engine.images import ImageStore
from medpref.errors import DataError, ModelError
from medpref.imaging.decode import encode_png
from medpref.models.policy import load_policy
from medpref.objectives.objective import parse_objective
from medpref.recipe import Lora, Train
from medpref.schema import ImageRef, PreferencePair, Reply, Span
from medpref.training.adapter import prepare
from medpref.training.train import train
from medpref.training.trainer import Task, micro_losses

SFT = parse_objective([{"kind": "likelihood", "branch": "clean/chosen"}])
DPO = parse_objective(
    [
        {"kind": "margin", "better": "clean/chosen", "worse": "clean/rejected", "beta": 0.5},
        {"kind": "margin", "better": "clean/chosen", "worse": "corrupt/chosen", "beta": 0.5, "weight": 0.5},
        {
            "kind": "token_kl",
            "branch": "clean/chosen",
            "tokens": "spans",
            "forward": 0.5,
            "reverse": 0.5,
            "weight": 0.01,
        },
    ]
)
FAST = Train(steps=6, batch=4, learning_rate=1e-2, save_every=2, max_tokens_per_batch=4096, lora=Lora(r=4, alpha=8))
POLICY = "tiny:llava-mistral@random"


def some_pairs(root: Path, number: int = 8) -> list[PreferencePair]:
    rng = np.random.default_rng(0)

    def image() -> ImageRef:
        data = encode_png(rng.integers(0, 255, (32, 32), dtype=np.uint8))
        name = store.put_blob(root, data, ".png")
        return ImageRef(path=name, sha256=store.digest(data))

    views = [(image(), image()) for _ in range(number // 2)]
    return [
        PreferencePair(
            id=f"p{index}",
            example=f"e{index}",
            patient=f"x{index // 2}",
            question=f"Which side, number {index % 2}?",
            views={"clean": (views[index // 2][0],), "corrupt": (views[index // 2][1],)},
            replies={
                "chosen": Reply(text="left lung", spans=(Span(start=0, end=4),)),
                "rejected": Reply(text="right lung", spans=(Span(start=0, end=5),)),
            },
            weight=1.0 + 0.1 * index,
        )
        for index in range(number)
    ]


def rows(folder: Path) -> list[dict[str, float]]:
    return [row for _, row in store.iter_lines(folder / "steps.jsonl")]


def test_preferences_are_learnt_and_logged_in_the_names_people_know(tmp_path: Path) -> None:
    pairs = some_pairs(tmp_path)
    counts = train(load_policy(POLICY), pairs, DPO, FAST, out=tmp_path / "t", root=tmp_path, seed=1, label="t")
    assert counts["steps"] == 6
    first, *_, last = rows(tmp_path / "t")
    weights = np.mean([pair.weight for pair in pairs])
    assert first["loss"] == pytest.approx(np.log(2) * 1.5 * weights, rel=0.3)  # policy = reference at step 1
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert last["rewards/margins"] > 0.1
    assert {"rewards/chosen", "rewards/rejected", "rewards/accuracies", "logps/chosen", "grad_norm"} <= set(last)
    assert (tmp_path / "t" / "adapter_model.safetensors").is_file()
    assert not list((tmp_path / "t").glob("checkpoint-*"))


def test_the_next_batch_is_announced_before_a_batch_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, frozenset[tuple[str, ...]]]] = []
    ahead, features = ImageStore.ahead, ImageStore.features

    def announce(self: ImageStore, studies: Iterable[tuple[str, ...]]) -> None:
        wanted = list(studies)
        said.append(("ahead", frozenset(wanted)))
        ahead(self, wanted)

    def read(self: ImageStore, studies: Sequence[tuple[str, ...]], sizes: Sequence[int]) -> torch.Tensor:
        said.append(("read", frozenset(studies)))
        return features(self, studies, sizes)

    monkeypatch.setattr(ImageStore, "ahead", announce)
    monkeypatch.setattr(ImageStore, "features", read)
    pairs = some_pairs(tmp_path, 16)
    settings = FAST.model_copy(update={"steps": 4, "reference": "online", "max_tokens_per_batch": 1 << 20})
    train(load_policy(POLICY), pairs, DPO, settings, out=tmp_path / "t", root=tmp_path, seed=1, label="t")
    places = {kind: [place for place, (what, _) in enumerate(said) if what == kind] for kind in ("ahead", "read")}
    announced = [said[place][1] for place in places["ahead"]]
    used = [one for one, before in pairwise([*(said[place][1] for place in places["read"]), None]) if one != before]
    assert len(announced) == len(used) == 4
    assert announced == used
    assert places["ahead"][1] < places["read"][0]


@pytest.mark.parametrize("settings", [FAST, FAST.model_copy(update={"lora": None, "learning_rate": 1e-3})])
def test_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, settings: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medpref.training import log

    pairs = some_pairs(tmp_path)

    def once(out: Path) -> None:
        train(load_policy(POLICY), pairs, DPO, settings, out=out, root=tmp_path, seed=1, label="t")

    once(tmp_path / "whole")
    on_log = log.StepLog.on_log

    def die(self: log.StepLog, args: object, state: object, control: object, **extra: object) -> None:
        on_log(self, args, state, control, **extra)  # type: ignore[arg-type]
        if state.global_step == 5:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(log.StepLog, "on_log", die)
        with pytest.raises(KeyboardInterrupt):
            once(tmp_path / "cut")
    torn = tmp_path / "cut" / "checkpoint-5"
    torn.mkdir()
    (torn / "optimizer.pt").write_bytes(b"torn")
    once(tmp_path / "cut")
    name = "adapter_model.safetensors" if settings.lora else "model.safetensors"
    whole, cut = load_file(tmp_path / "whole" / name), load_file(tmp_path / "cut" / name)
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    plain = [{key: value for key, value in row.items() if key != "seconds"} for row in rows(tmp_path / "whole")]
    assert plain == [{k: v for k, v in row.items() if k != "seconds"} for row in rows(tmp_path / "cut")]


def test_the_micro_step_budget_does_not_change_the_gradient(tmp_path: Path) -> None:
    """The gradient of a batch in one forest and in several agree to float32's rounding, every weight's."""
    pairs, policy = some_pairs(tmp_path), prepare(load_policy(POLICY), FAST, seed=1)
    for name, value in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    images = ImageStore(policy)
    encoded = [encode_pair(policy, pair, tmp_path, DPO.needs, images) for pair in pairs]
    found = []
    for budget in (200, 4096):
        policy.model.zero_grad()
        losses = [loss for loss, _ in micro_losses(Task(policy, DPO, encoded, images, "online", budget), encoded)]
        sum(losses).backward()
        grads = {name: value.grad for name, value in policy.model.named_parameters() if value.grad is not None}
        found.append((len(losses), {name: grad.clone() for name, grad in grads.items()}))
    (several, small), (one, large) = found
    assert several > 1 == one
    for name, grad in large.items():
        assert grad.norm() > 0
        assert (small[name] - grad).norm() <= 1e-5 * grad.norm()


def test_the_micro_step_budget_does_not_change_what_is_learnt(tmp_path: Path) -> None:
    """To a hundredth of a step: Adam turns the rounding of gradients that are nearly zero into whole updates."""
    pairs = some_pairs(tmp_path)
    for budget in (200, 4096):
        settings = FAST.model_copy(update={"steps": 3, "max_tokens_per_batch": budget})
        train(load_policy(POLICY), pairs, DPO, settings, out=tmp_path / str(budget), root=tmp_path, seed=1, label="t")
    small, large = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("200", "4096"))
    assert all(torch.allclose(small[key], large[key], atol=0.01 * FAST.learning_rate) for key in small)
    assert not all(torch.equal(small[key], torch.zeros_like(small[key])) for key in small if "lora_B" in key)


def test_sft_moves_the_whole_model_and_refuses_no_pairs(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"lora": None, "freeze_tower": False, "learning_rate": 1e-3})
    train(
        load_policy(POLICY), some_pairs(tmp_path), SFT, settings, out=tmp_path / "s", root=tmp_path, seed=0, label="s"
    )
    log = rows(tmp_path / "s")
    assert log[-1]["loss"] < log[0]["loss"]
    before = dict(load_policy(POLICY).base.named_parameters())
    after = dict(load_policy(str(tmp_path / "s")).base.named_parameters())
    tower = next(name for name in before if "vision_tower" in name and name.endswith("weight"))
    assert not torch.equal(before[tower], after[tower])
    with pytest.raises(DataError, match="no pairs"):
        train(load_policy(POLICY), [], SFT, settings, out=tmp_path / "n", root=tmp_path, seed=0, label="n")


def test_online_reference_needs_an_adapter(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"lora": None, "reference": "online"})
    with pytest.raises(ModelError, match=r"train\.reference"):
        train(
            load_policy(POLICY),
            some_pairs(tmp_path),
            DPO,
            settings,
            out=tmp_path / "o",
            root=tmp_path,
            seed=0,
            label="o",
        )


def test_cached_and_online_reference_agree(tmp_path: Path) -> None:
    for mode in ("cached", "online"):
        settings = FAST.model_copy(update={"reference": mode})
        train(
            load_policy(POLICY),
            some_pairs(tmp_path),
            DPO,
            settings,
            out=tmp_path / mode,
            root=tmp_path,
            seed=1,
            label="t",
        )
    cached, online = (rows(tmp_path / mode) for mode in ("cached", "online"))
    assert [row["loss"] for row in cached] == pytest.approx([row["loss"] for row in online], rel=1e-4)


def test_only_pairs_within_reach_are_read_and_the_control_reads_the_same(tmp_path: Path) -> None:
    from medpref.supervised import control_pairs
    from medpref.training.train import within_reach

    pairs = some_pairs(tmp_path)
    short = FAST.model_copy(update={"steps": 1, "batch": 4})
    kept = within_reach(pairs, short, seed=5)
    assert len(kept) == 4
    assert len({pair.views["clean"] for pair in kept}) == 2  # grouped: two whole images of two questions each
    assert [pair.id for pair in within_reach(control_pairs(pairs), short, seed=5)] == [pair.id for pair in kept]
    assert within_reach(pairs, FAST, seed=5) == pairs
    counts = train(load_policy(POLICY), pairs, DPO, short, out=tmp_path / "t", root=tmp_path, seed=5, label="t")
    assert counts["pairs"] == 4
