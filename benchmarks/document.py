"""Write ``docs/benchmarks.md`` from the JSON files of the benchmarks: no number in it is typed by hand.

::

    python benchmarks/document.py --results docs/benchmarks --page docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ORDER = ("A", "B", "Bp", "C", "D1", "D4", "D4own", "F")
NAMES = {"Bp": "B'"}
TARGETS = {"A": (3.7, 2.9), "B": (14, 10), "Bp": (16, 12), "C": (2.9, 2.1), "D1": (3.3, None), "D4": (9, None)}
"""What the design set out to reach on two CPU cores, times TRL's defaults and times TRL tuned."""
ARMS = {
    "trl_default": "TRL, defaults",
    "trl_tuned": "TRL, tuned",
    "trl_own_head": "TRL, defaults, its CPU head",
    "naive": "plain loop, full logits",
    "plain": "ours, nothing shared",
    "online": "ours, reference live",
    "cold": "ours, first epoch (caches built)",
    "layered": "ours, layers checkpointed",
    "warm": "ours",
}
INTRODUCTION = """# Speed and memory

Written by `benchmarks/document.py` from the JSON files in [benchmarks/](benchmarks/); `make bench` measures what is
missing there and writes this page again. **Not measured on a GPU**: the commands for one are at the end.

One LoRA step (r = 16, all linears of the language model; AdamW; clipping) on a LLaVA architecture with random weights:
language model 256 wide, 6 layers, vocabulary 8,192, a CLIP tower that gives 576 image tokens and costs about 5 % of a
row, in float32. All arms start from the same weights and adapters, read the same pairs in the same order, and are
timed side by side in one process: every arm once a round. A ratio is the median of the per-round ratios, with their
range. FLOPs, tokens, tower passes, vocabulary products and bytes are counted, not timed: they are the same everywhere.
"""
ARMS_TEXT = """## The arms

- **TRL, defaults**: `DPOTrainer` of TRL 1.16 from its wheel: activation checkpointing on, 8 pairs a device batch. Its
  collator runs before the clock starts, as if data loader workers hid it. Its head is put on the path it takes on CUDA
  (reply positions only) by patching `trl.trainer.utils._use_triton`, nothing else: on a CPU TRL scores every position,
  which would flatter us. That is shown as *TRL, defaults, its CPU head* and is in no ratio of the first table.
- **TRL, tuned**: without checkpointing, adapters in the weights' dtype, dropout 0, the fastest of micro-batches 1 to 8.
- **plain loop, full logits**: every branch a row through the model's own forward; the objective on scores made by
  definition. The oracle, and the baseline for objectives that TRL lacks.
- **ours**: the step that `medpref` trains with, features and reference cached; *reference live* runs the model with its
  adapters off every step; *first epoch* builds both caches inside the clock; *nothing shared* gives every branch a row
  of its own; *layers checkpointed* is `train.checkpointing=layer`, for memory like with like with TRL's defaults.
- **D** reads four branches (clean and corrupt, chosen and rejected) and both full-vocabulary divergences. TRL has no
  such objective: its row is its DPO step on the clean batch plus its DPO step on the corrupt batch, one update for
  both, without any divergence: less work than asked for, so the ratio is a floor. In D4 the four questions of an image
  share one corrupt view; in D4own each has its own, as random corruptions at a question's own region do.
- **Depth matters to one of our savings.** Our last layer computes only the rows that are read. With the six layers here
  that saves 13 % of A's counted work (20.9 to 18.1 GFLOP a pair), with the 28 to 36 layers of 4B to 7B models 2 to 3 %
  (reckoned). Before it was built the same machine gave 3.4 x and 2.7 x on A: for deep models expect ratios nearer to
  these.
- Random replies share nothing. Minimal edits share their first words, which the trie computes once: not counted here.
- Peak bytes are of tensors that a step makes, on top of weights, optimiser and held features. Saved bytes are what
  autograd keeps; inside checkpointed layers they cannot be seen.
"""
HEAD_TEXT = """Against full logits of policy and reference, by autograd. Aim: a fifth of the memory, and not slower.

Ours reads the matrix once, in tiles of columns that all rows pass while they are in a cache; the softmax is known at
the end of the sweep only, so sums are kept relative to the largest logit so far. It does five products a row where full
logits take three, because the three values' weights in the loss may be anything and are not known before backward;
what it saves is everything else that is done to full logits. That grows with the vocabulary and not with the width, so
wider hidden states make the ratio of times smaller, and log p alone (two products against two) larger.
"""
GPU = """## On a GPU

```
S="python benchmarks/throughput.py --device cuda --dtype bfloat16 --peak 790e12 --out runs/gpu"
$S --shape 7b --workload A B Bp C D1 D4
$S --shape 4b --workload F
python benchmarks/head.py --device cuda --dtype bfloat16 --width 2560 --rows 1280 --out runs/gpu
python benchmarks/growth.py --device cuda --dtype bfloat16 --shape 7b --out runs/gpu --plot runs/gpu/growth.png
```

`7b` has LLaVA-Med's dimensions, `4b` those of a 4 B model with 1,024 image tokens; weights are random and made on the
device. `F` is a step of eight pairs of the FiRe-MPO objective. Without TRL installed the plain loop is the baseline.
`--backend flex` chooses FlexAttention. The fraction of the floor is the least work that the objective needs over
the time taken at `--peak`; it cannot be raised by computing more.
"""


def page(results: dict[str, dict[str, Any]]) -> str:
    """The whole page."""
    workloads = [results[name] for name in ORDER if name in results]
    parts = [INTRODUCTION, *_machine(results)]
    if workloads:
        parts += ["## Ratios\n", *_ratios(workloads), *_epochs(workloads), *_losing(workloads)]
    if "E" in results:
        parts += list(_head(results["E"]))
    if "growth" in results:
        parts += list(_growth(results["growth"]))
    parts.append(ARMS_TEXT)
    parts += ["## Every arm\n"]
    parts += [text for workload in workloads for text in _workload(workload)]
    return "\n".join((*parts, GPU))


def _machine(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    machines = {
        json.dumps({k: v for k, v in one["machine"].items() if k != "load_average"}) for one in results.values()
    }
    for text in sorted(machines):
        one = json.loads(text)
        versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items() if version)
        device = one["gpu"] or f"{one['cpu']}, {one['threads']} threads of {one['cores']} cores, {one['vectors']}"
        yield f"Machine: {device}, {one['memory_gib']} GiB; Python {one['python']}, {versions}.\n"
    loads = [one["machine"]["load_average"][0] for one in results.values()]
    if loads:
        yield f"Load average while measuring: {min(loads)} to {max(loads)}.\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _range(value: dict[str, float] | None) -> str:
    return "" if value is None else f"**{value['median']:.1f}** ({value['min']:.1f}-{value['max']:.1f})"


def _target(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _ratios(workloads: list[dict[str, Any]]) -> Iterator[str]:
    head = (
        "workload",
        "x TRL defaults",
        "aim",
        "x TRL tuned",
        "aim",
        "x plain loop",
        "work, x defaults",
        "peak, x tuned",
    )
    rows = []
    for one in workloads:
        name, arms = one["workload"], one["arms"]
        aims = TARGETS.get(name, (None, None))
        work = arms["trl_default"]["flops"] / arms["warm"]["flops"] if "trl_default" in arms else None
        cells = [f"{NAMES.get(name, name)}: {one['title']}", _range(one["ratio_default"]), _target(aims[0])]
        cells += [_range(one["ratio_tuned"]), _target(aims[1]), _range(one["ratios"].get("warm_x_naive"))]
        held = one["peak_memory_ratio"].get("trl_tuned")
        rows.append((*cells, *("" if value is None else f"{value:.1f}" for value in (work, held))))
    rounds = min(one["arms"]["warm"]["rounds"] for one in workloads)
    yield (
        "Time of TRL over ours, caches warm. *Work* is the same ratio in counted FLOPs, which explains it; *peak* is "
        f"that of peak bytes, neither side checkpointed. At least {rounds} round(s).\n"
    )
    yield _table(head, rows)


def _epochs(workloads: list[dict[str, Any]]) -> Iterator[str]:
    head = ("workload", "1 epoch, x defaults", "x tuned", "3 epochs, x defaults", "x tuned", "cache MB a pair")
    rows = []
    for one in workloads:
        if one["epochs"]:
            found = [one["epochs"][number].get(f"x_{arm}") for number in "13" for arm in ("trl_default", "trl_tuned")]
            held = one["cache_bytes"].get("warm", 0) / one["pairs_per_round"] / 1e6
            cells = ["" if value is None else f"{value:.1f}" for value in found]
            rows.append((NAMES.get(one["workload"], one["workload"]), *cells, f"{held:.2f}"))
    yield "Totals with the caches built inside the clock:\n"
    yield _table(head, rows)


def _losing(workloads: list[dict[str, Any]]) -> Iterator[str]:
    """Every arm of ours that is slower, or holds more, than one of the others."""
    yield "### Where we lose, or win least\n"
    lost = []
    for one in workloads:
        name, arms = NAMES.get(one["workload"], one["workload"]), one["arms"]
        for pair, value in one["ratios"].items():
            ours, _, theirs = pair.partition("_x_")
            if value and value["median"] < 1:
                lost.append(f"- {name}: *{ARMS[ours]}* takes {1 / value['median']:.2f} x the time of *{ARMS[theirs]}*.")
        for ours in ("warm", "layered"):
            for theirs in ("trl_default", "trl_tuned", "naive"):
                if ours in arms and theirs in arms and arms[ours]["peak_bytes"] > arms[theirs]["peak_bytes"]:
                    more = arms[ours]["peak_bytes"] / arms[theirs]["peak_bytes"]
                    lost.append(f"- {name}: *{ARMS[ours]}* holds {more:.1f} x the peak bytes of *{ARMS[theirs]}*.")
    yield "\n".join(lost or ["- No arm of ours was slower or larger than one of the others."]) + "\n"
    least = min(workloads, key=lambda one: (one["ratio_tuned"] or one["ratio_default"] or {"median": 1e9})["median"])
    yield f"The smallest gain is {NAMES.get(least['workload'], least['workload'])} ({least['title']}).\n"


def _workload(one: dict[str, Any]) -> Iterator[str]:
    yield f"### {NAMES.get(one['workload'], one['workload'])}: {one['title']}\n"
    pairs = one["pairs_per_round"]
    yield f"{pairs} pairs on {one['images']} image(s) a round; all but the peak are a pair.\n"
    head = ("arm", "pairs/s", "s (range)", "tokens", "tower", "vocabulary rows", "GFLOP", "saved MB", "peak MB a step")
    rows = []
    for name, row in one["arms"].items():
        times = [row["seconds"][key] / pairs for key in ("median", "min", "max")]
        spent = [row[key] / pairs for key in ("tokens", "tower_images", "head_products")]
        cells = [ARMS[name], f"{row['pairs_per_second']:.2f}", f"{times[0]:.3f} ({times[1]:.3f}-{times[2]:.3f})"]
        cells += [f"{spent[0]:.0f}", f"{spent[1]:.2f}", f"{spent[2]:.0f}", f"{row['flops'] / pairs / 1e9:.1f}"]
        rows.append((*cells, f"{row['saved_bytes'] / pairs / 1e6:.0f}", f"{row['peak_bytes'] / 1e6:.0f}"))
    yield _table(head, rows)
    gap = max(one["agreement"]["gradient_difference_from_warm"].values())
    floor, warm = one["floor"], one["arms"]["warm"]
    reached = floor["flops"] / floor["peak_rate"] / warm["seconds"]["median"]
    busy = warm["flops_per_second"] / floor["peak_rate"]
    yield f"Gradients of the first step differ by at most {gap:.0e} of their norm.\n"
    yield f"Ours reaches {busy:.0%} of a large matrix product's rate, and {reached:.0%} of the floor.\n"


def _head(result: dict[str, Any]) -> Iterator[str]:
    yield f"## E: {result['title']}\n"
    yield HEAD_TEXT
    head = (
        "vocabulary",
        "naive s",
        "ours s",
        "naive / ours",
        "naive MiB",
        "ours MiB",
        "naive / ours",
        "products a row",
    )
    rows = []
    for case in result["cases"]:
        naive, ours = case["arms"]["naive"], case["arms"]["ours"]
        cells = [f"{case['vocabulary']:,}", f"{naive['seconds']['median']:.2f}", f"{ours['seconds']['median']:.2f}"]
        cells += [_range(case["ratio_time"]), f"{naive['peak_bytes'] / 2**20:.0f}", f"{ours['peak_bytes'] / 2**20:.0f}"]
        rows.append(
            (*cells, f"{case['ratio_memory']:.1f}", f"{naive['head_products']:.0f} / {ours['head_products']:.0f}")
        )
    yield _table(head, rows)


def _growth(result: dict[str, Any]) -> Iterator[str]:
    yield "## Growth\n"
    yield "![tokens and seconds a pair against questions an image and image tokens](images/growth.png)\n"
    for key, title in (("per_image", "questions an image"), ("image_tokens", "image tokens")):
        names = list(result[key][0]["arms"])
        head = (title, *(f"{ARMS[name]}: tokens" for name in names), *(f"{ARMS[name]}: s a pair" for name in names))
        rows = []
        for one in result[key]:
            tokens = [f"{one['arms'][name]['tokens']:.0f}" for name in names]
            seconds = [f"{one['arms'][name]['seconds']['median']:.3f}" for name in names]
            rows.append((str(one[key]), *tokens, *seconds))
        yield _table(head, rows)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks.md"))
    settings = parser.parse_args(argv)
    files = sorted(settings.results.glob("*.json"))
    settings.page.write_text(page({file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}))


if __name__ == "__main__":
    main()
