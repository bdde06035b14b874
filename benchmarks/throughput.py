"""Speed and memory of preference training against TRL 1.16, side by side in one process.

::

    OMP_NUM_THREADS=2 python benchmarks/throughput.py --workload A B Bp C D1 D4 --out docs/benchmarks   # two CPU cores
    python benchmarks/throughput.py --workload A B --device cuda --dtype bfloat16 --shape 7b --out runs/gpu
    python benchmarks/throughput.py --workload F --device cuda --dtype bfloat16 --shape 4b --out runs/gpu

A workload whose JSON exists is skipped (``--again`` measures it anew), so an interrupted set goes on where it stopped.
``--json FILE`` names the file of a single workload. See ``docs/benchmarks.md`` for what the arms are.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from measure.arms import Bench, floor_flops, make_arms
from measure.machine import describe, product_rate
from measure.model import SHAPES, build
from measure.observe import Watched, difference, gradients_of, watch
from measure.rounds import Arm, interleave, ratio, spread
from measure.workloads import Workload, make, regular, slake

SHOWN = ("trl_default", "trl_tuned", "trl_own_head", "naive", "plain", "online", "cold", "warm")


def workloads(scale: int) -> dict[str, Workload]:
    """Every workload; ``scale`` divides the pairs (1 for measuring, more for trying out)."""

    def few(pairs: int) -> int:
        return max(1, pairs // scale)

    listed = [
        regular("A", "VQA 576/40/20, one question an image", pairs=few(4), per_image=1, reply=20),
        regular("B", "VQA 576/40/20, eight questions an image", pairs=max(2, few(8)), per_image=8, reply=20),
        slake(max(1, 2 // scale)),
        regular("C", "reports 576/40/150, one an image", pairs=few(4), per_image=1, reply=150),
        regular("D1", "FiRe-MPO, four branches, one question an image", pairs=few(4), per_image=1, reply=20, corrupt="own"),
        regular("D4", "FiRe-MPO, four questions an image and its corrupt view", pairs=few(4), per_image=4, reply=20, corrupt="shared"),
        regular("D4own", "FiRe-MPO, four questions an image, each with its own corrupt view", pairs=few(4), per_image=4, reply=20, corrupt="own"),
        regular("F", "FiRe-MPO, a step of eight pairs on eight images", pairs=few(8), per_image=1, reply=20, corrupt="own"),
    ]  # fmt: skip
    return {workload.name: workload for workload in listed}


def measure(workload: Workload, settings: argparse.Namespace) -> dict[str, Any]:
    """Everything about one workload, JSON-able."""
    began, shape = time.perf_counter(), SHAPES[settings.shape]
    dtype = getattr(torch, settings.dtype)
    policy = build(shape, device=settings.device, dtype=dtype)
    with tempfile.TemporaryDirectory(prefix="medpref-bench-") as folder:
        data = make(workload, shape, Path(folder))
        bench = Bench(policy, workload, data, settings)
        arms = make_arms(bench)
        watched, grads, caches = observe(arms)
        timed = [Arm(name, arm.cold if name == "cold" else arm.step, bench.every(name)) for name, arm in arms.items()]
        interleave([one for one in timed if one.name not in watched], 1)
        seconds, losses = interleave(timed, settings.rounds)
        floor = floor_flops(bench)
        for arm in arms.values():
            arm.close()
    rate = product_rate(settings.device, dtype, size=8192 if settings.device == "cuda" else 1024)
    result = report(workload, seconds, watched, caches)
    result["agreement"] = {"gradient_difference_from_warm": grads, "last_losses": losses}
    result["floor"] = {"flops": floor, "product_rate": rate, "peak_rate": settings.peak or rate}
    result["settings"] = {key: str(value) if isinstance(value, Path) else value for key, value in vars(settings).items()}
    result["trl_micro_batch"] = bench.tried
    result["machine"] = describe(settings.device)
    result["seconds_taken"] = round(time.perf_counter() - began, 1)
    return result


def observe(arms: dict[str, Any]) -> tuple[dict[str, Watched], dict[str, float], dict[str, float]]:
    """One watched step of every arm (it is the warm-up too), its gradient against ours, and what caches take."""
    watched, grads, caches, ours = {}, {}, {}, None
    for name in sorted(arms, key=lambda name: name != "warm"):
        arm = arms[name]
        model = arm.policy.model if hasattr(arm, "open_caches") or name == "naive" else arm.trainer.model
        if hasattr(arm, "open_caches"):
            began = time.perf_counter()
            arm.open_caches()
            caches[f"{name}_seconds"] = time.perf_counter() - began
            caches[f"{name}_bytes"] = arm.cache_bytes()
        if name == "cold":
            watched[name] = watch(model, lambda arm=arm: (arm.open_caches(), arm.gradients())[1])
        else:
            watched[name] = watch(model, arm.gradients)
        found = gradients_of(model)
        ours = found if ours is None else ours
        comparable = not (name.startswith("trl") and "corrupt" in arm.workload.views)
        if comparable:
            grads[name] = difference(ours, found)
        gc.collect()
    return watched, grads, caches


def report(
    workload: Workload, seconds: dict[str, dict[int, float]], watched: dict[str, Watched], caches: dict[str, float]
) -> dict[str, Any]:
    """Ratios by round, and per arm what it took and did."""
    pairs = len(workload.questions)
    rows = {}
    for name in SHOWN:
        if name in seconds and seconds[name]:
            one, taken = watched[name], spread(list(seconds[name].values()))
            rows[name] = {
                "seconds": taken,
                "rounds": len(seconds[name]),
                "pairs_per_second": pairs / taken["median"],
                **{key: value for key, value in one.as_data().items() if key != "kernels"},
                "flops_per_second": one.flops / taken["median"],
            }
    against = {
        f"{arm}_x_{slow}": ratio(seconds[slow], seconds[arm])
        for arm in ("warm", "online", "cold", "plain")
        for slow in ("trl_default", "trl_tuned", "trl_own_head", "naive")
        if arm in seconds and slow in seconds
    }
    first = rows.get("trl_default", rows.get("naive"))
    return {
        "workload": workload.name,
        "title": workload.title,
        "pairs_per_round": pairs,
        "images": len({question.image for question in workload.questions}),
        "ratio_default": against.get("warm_x_trl_default"),
        "ratio_tuned": against.get("warm_x_trl_tuned"),
        "peak_memory_ratio": first["peak_bytes"] / rows["warm"]["peak_bytes"],
        "ratios": against,
        "epochs": epochs(rows),
        "caches": caches,
        "counts": {name: counts_of(row, pairs) for name, row in rows.items()},
        "arms": rows,
    }


def counts_of(row: dict[str, Any], pairs: int) -> dict[str, float]:
    """Work a pair: exact, the same on every machine."""
    kept = ("tokens", "tower_calls", "tower_images", "head_products", "flops", "saved_bytes", "peak_bytes")
    return {name: round(row[name] / pairs, 3) for name in kept}


def epochs(rows: dict[str, Any]) -> dict[str, Any]:
    """Seconds of 1 and 3 epochs over the round's pairs, caches built first, and TRL's over ours."""
    if "cold" not in rows:
        return {}
    cold, warm = (rows[name]["seconds"]["median"] for name in ("cold", "warm"))
    totals: dict[str, Any] = {}
    for number in (1, 3):
        ours = cold + (number - 1) * warm
        theirs = {name: number * rows[name]["seconds"]["median"] for name in rows if name.startswith(("trl", "naive"))}
        totals[str(number)] = {"ours": ours, **theirs, **{f"x_{name}": value / ours for name, value in theirs.items()}}
    return totals


def show(result: dict[str, Any]) -> None:
    """The result as a table on standard output."""
    pairs = result["pairs_per_round"]
    lines = [f"\n{result['workload']}: {result['title']}; {pairs} pairs a round, times are medians"]
    head = ("arm", "pairs/s", "s a pair", "tokens", "tower", "head rows", "GFLOP", "saved MB", "peak MB")
    lines.append("{:<14}{:>9}{:>10}{:>9}{:>8}{:>11}{:>9}{:>10}{:>9}".format(*head) + "   (per pair; peak a step)")
    for name, row in result["arms"].items():
        values = (
            row["pairs_per_second"], 1 / row["pairs_per_second"], row["tokens"] / pairs, row["tower_images"] / pairs,
            row["head_products"] / pairs, row["flops"] / pairs / 1e9, row["saved_bytes"] / pairs / 1e6,
            row["peak_bytes"] / 1e6,
        )  # fmt: skip
        lines.append("{:<14}{:>9.2f}{:>10.3f}{:>9.0f}{:>8.2f}{:>11.0f}{:>9.2f}{:>10.1f}{:>9.1f}".format(name, *values))
    for name, value in result["ratios"].items():
        if value:
            ours, _, theirs = name.partition("_x_")
            lines.append(f"  {theirs} / {ours}: {value['median']:.2f} ({value['min']:.2f} to {value['max']:.2f})")
    for number, total in result["epochs"].items():
        said = ", ".join(f"{name[2:]} {value:.2f}" for name, value in total.items() if name.startswith("x_"))
        lines.append(f"  {number} epoch(s), caches built: ours {total['ours']:.1f} s; over ours: {said}")
    fraction = result["floor"]["flops"] / result["floor"]["peak_rate"] / result["arms"]["warm"]["seconds"]["median"]
    busy = result["arms"]["warm"]["flops_per_second"] / result["floor"]["peak_rate"]
    lines.append(f"  warm: {busy:.0%} of the products' rate, {fraction:.0%} of the floor (no work but the needed)")
    lines.append(f"  gradients differ from ours by at most {max(result['agreement']['gradient_difference_from_warm'].values()):.1e}")
    print("\n".join(lines), flush=True)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", nargs="+", default=["A"], choices=sorted(workloads(1)))
    parser.add_argument("--arms", nargs="+", choices=SHOWN, help="default: all that the workload has")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shape", default="mini", choices=sorted(SHAPES))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--backend", default="auto", help="attention back end of our arms")
    parser.add_argument("--max-tokens", type=int, default=16384, help="our nodes a micro-step")
    parser.add_argument("--micro", type=int, help="TRL's tuned micro-batch; default: tried out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=int, default=1, help="divide the pairs, for trying out")
    parser.add_argument("--peak", type=float, help="FLOP/s for the fractions, such as 790e12; default: a matrix product's")
    parser.add_argument("--json", type=Path, help="where a single workload's result is written")
    parser.add_argument("--out", type=Path, help="a folder for NAME.json of each workload")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    settings = parse(argv)
    torch.set_num_threads(settings.threads)
    warnings.filterwarnings("ignore")
    known = workloads(settings.scale)
    for name in settings.workload:
        file = settings.json if settings.json and len(settings.workload) == 1 else None
        file = file or (settings.out / f"{name}.json" if settings.out else None)
        if file and file.exists() and not settings.again:
            sys.stderr.write(f"{name}: {file} is there, skipped\n")
            continue
        sys.stderr.write(f"{name}: {known[name].title}\n")
        result = measure(known[name], settings)
        show(result)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            scratch = file.with_suffix(".tmp")
            scratch.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
            scratch.replace(file)
        gc.collect()


if __name__ == "__main__":
    main()
