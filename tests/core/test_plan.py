"""``medpref plan``: no weights, no run; numbers from lengths, and the settings that would fit."""

from __future__ import annotations

import pytest
import torch
from tests.training.test_train import some_pairs
from typer.testing import CliRunner

from medpref import store
from medpref.cli import app
from medpref.engine import counters
from medpref.engine.encode import encode_pair
from medpref.engine.images import ImageStore
from medpref.engine.pack import count_nodes
from medpref.errors import DataError, MedprefError, RecipeError
from medpref.models.outline import load_outline
from medpref.models.policy import load_policy
from medpref.models.tiny import BUILDERS
from medpref.objectives.objective import parse_objective
from medpref.objectives.scores import Needs
from medpref.plan import Machine, answer, ask_pairs, ask_trace, parse_bytes
from medpref.plan_lines import lines, plan
from medpref.recipe import Train, load_recipe
from medpref.schema import Branch
from medpref.trace import KNOWN, Trace, draw_pairs, parse_trace
from medpref.training.activation import bytes_kept
from medpref.training.adapter import prepare
from medpref.training.cost import read_load, read_sizes
from medpref.training.sampler import order
from medpref.training.trainer import Task, micro_losses

CC, CR, XC = Branch("clean", "chosen"), Branch("clean", "rejected"), Branch("corrupt", "chosen")
TINY = "tiny:llava-mistral"


def test_the_command_prints_tokens_work_seconds_and_memory() -> None:
    found = CliRunner().invoke(app, ["plan", "dpo", "--memory", "4GiB", "--tflops", "0.1", "--trace", "slake"])
    assert found.exit_code == 0, found.output
    for word in ("policy", "a step", "work", "time", "once", "memory", "checkpointing  none"):
        assert f"\n{word}" in f"\n{found.output}"
    assert "4919 pairs, 10.9 an image: 64 image and 44 prompt tokens" in found.output
    assert "x shared" in found.output


def test_where_it_does_not_fit_the_cheapest_settings_that_do_are_named() -> None:
    said, fits = plan("dpo", TINY, memory="90MiB", tflops=0.1, overrides=["train.batch=16", "train.checkpointing=none"])
    assert not fits
    assert "does NOT fit" in said[-3]
    assert said[-1].startswith("fix            --set train.checkpointing=none --set train.max_tokens_per_batch=")
    tokens = said[-1].partition("max_tokens_per_batch=")[2].partition(":")[0]
    again = ["train.batch=16", "train.checkpointing=none", f"train.max_tokens_per_batch={tokens}"]
    assert plan("dpo", TINY, memory="90MiB", tflops=0.1, overrides=again)[1]

    said, fits = plan("dpo", TINY, memory="9MiB", tflops=0.1)
    assert not fits
    assert "none of the settings fits" in said[-1]


def test_auto_checkpoints_and_says_what_would_be_cheaper() -> None:
    said, fits = plan("dpo", TINY, memory="90MiB", tflops=0.1, overrides=["train.batch=16"])
    assert fits
    assert said[-2] == "checkpointing  layer (train.checkpointing=auto)"
    assert said[-1].startswith("cheaper        --set train.checkpointing=none")


def test_a_trace_by_hand() -> None:
    trace = Trace(pairs=8, per_image=4, image=10, prompt=5, chosen=3, rejected=2)
    pairs = draw_pairs(trace, [CC, CR, XC], limit=100)
    assert len(pairs) == 8
    clean = Needs(branches=frozenset({CC, CR}), divergence=frozenset({CC}))
    per_question = 5 + (3 - 1) + (2 - 1)
    load = read_load(pairs, clean)
    assert load.nodes == count_nodes(pairs, clean) == 2 * 10 + 8 * per_question
    assert load.asked == 8 * (2 * 15 + 3 + 2)
    assert (load.rows, load.diverging, load.largest, len(load.studies)) == (8 * 4, 8 * 3, 17, 2)
    tree = [*range(1, 11), *range(11, 16), 16, 17, 16]
    one = read_load(pairs[:1], clean)
    assert (one.seen, one.seen_rows) == (sum(tree), 15 + 16 + 17 + 16)
    corrupt = Needs(branches=frozenset({CC, XC}))
    assert read_load(pairs, corrupt).nodes == 2 * 10 + 8 * 7 + 8 * 17


def test_real_pairs_are_read_as_training_will_read_them(tmp_path) -> None:
    folder = tmp_path / "pairs" / "dpo"
    pairs = some_pairs(tmp_path, 8)
    store.write_lines(folder / "pairs.jsonl", pairs)
    recipe = load_recipe("dpo", overrides=["train.batch=3", "train.max_tokens_per_batch=200"], policy=TINY)
    machine = Machine(1 << 40, 1e12)
    found = answer(ask_pairs(recipe, load_outline(f"{TINY}@random"), folder, machine), seed=1).forecast

    policy = load_policy(f"{TINY}@random")
    images, objective = ImageStore(policy), parse_objective(list(recipe.objective))
    encoded = [encode_pair(policy, pair, tmp_path, objective.needs, images) for pair in pairs]
    policy = prepare(policy, recipe.train, seed=1)
    task = Task(policy, objective, encoded, images, "online", recipe.train.max_tokens_per_batch)
    indices = order([pair.views["clean"][0].sha256 for pair in pairs], seed=1, epoch=0, grouped=True)
    for step, start in zip(found.steps, range(0, 8, 3), strict=True):
        batch = [encoded[index] for index in indices[start : start + 3]]
        with counters.counting() as counts:
            micro_steps = len(list(micro_losses(task, batch)))
        assert micro_steps == len(step)
        assert sum(load.nodes for load in step) == counts.tokens_computed
        assert sum(load.asked for load in step) == counts.tokens_asked


def test_the_outline_has_the_sizes_of_the_loaded_policy() -> None:
    settings = Train()
    real, empty = (prepare(load(f"{TINY}@random"), settings, seed=0) for load in (load_policy, load_outline))
    assert read_sizes(real) == read_sizes(empty)
    assert read_sizes(real).trained == sum(p.numel() for p in real.model.parameters() if p.requires_grad)
    assert bytes_kept(real) == bytes_kept(empty)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_every_family_has_an_outline_and_bytes(name: str) -> None:
    policy = prepare(load_outline(f"tiny:{name}"), Train(), seed=0)
    sizes = read_sizes(policy)
    layer = 4 * (2 * 128 + 3 * 352)  # at least the inputs of norms and of the MLP's last linear, in float32
    assert bytes_kept(policy).token > (sizes.layers - 1) * layer
    assert sizes.linear > sizes.adapter > 0
    assert sizes.tower > 0 < sizes.patch


def test_a_configuration_is_enough(tmp_path) -> None:
    load_policy(f"{TINY}@random").base.config.save_pretrained(tmp_path)
    outline = load_outline(str(tmp_path), dtype="bfloat16")
    assert outline.processor is None
    assert outline.base.dtype == torch.bfloat16
    assert {value.device.type for value in outline.model.parameters()} == {"meta"}
    recipe = load_recipe("dpo", policy=TINY)
    found = answer(ask_trace(recipe, outline, parse_trace("vqa_rad,image=64"), Machine(1 << 40, 1e12)))
    assert "42 prompt tokens" in "\n".join(lines(found))
    with pytest.raises(MedprefError, match=r"config\.json"):
        load_outline(str(tmp_path / "nothing"))


def test_recipes_of_every_kind_can_be_planned() -> None:
    for name in ("mmedpo", "fire_mpo", "sft"):
        said, _ = plan(name, TINY, memory="64GiB", tflops=0.1)
        assert len(said) >= 8


@pytest.mark.parametrize(
    ("given", "bytes_"), [("24GiB", 24 << 30), ("1.5 GB", 1_500_000_000), ("512MiB", 512 << 20), ("2g", 2_000_000_000)]
)
def test_sizes_are_read_as_written(given: str, bytes_: int) -> None:
    assert parse_bytes(given) == bytes_


def test_bad_input_names_itself(tmp_path) -> None:
    with pytest.raises(RecipeError, match="24"):
        parse_bytes("24")
    with pytest.raises(RecipeError, match="did you mean 'slake'"):
        parse_trace("slak")
    with pytest.raises(MedprefError, match="per_imag"):
        parse_trace("per_imag=3")
    with pytest.raises((DataError, MedprefError), match=r"pairs\.jsonl"):
        plan("dpo", TINY, pairs=tmp_path, memory="1GiB", tflops=1)
    assert parse_trace("slake,image=1024").image == 1024
    assert parse_trace("") == KNOWN["vqa"]
