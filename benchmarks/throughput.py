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
import gc
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure.arms import ARMS, Bench, floor_flops, make_arms, predicted_flops
from measure.machine import describe, product_rate
from measure.model import SHAPES, build
from measure.observe import Watched, difference, gradients_of, watch
from measure.options import parser_of
from measure.report import report, show
from measure.rounds import Arm, interleave
from measure.workloads import Workload, make, regular, slake

REGULAR = (  # name, pairs a round, questions an image, reply tokens, corrupt views, title
    ("A", 4, 1, 20, "", "VQA 576/40/20, one question an image"),
    ("B", 8, 8, 20, "", "VQA 576/40/20, eight questions an image"),
    ("C", 4, 1, 150, "", "reports 576/40/150, one an image"),
    ("D1", 4, 1, 20, "own", "FiRe-MPO, four branches, one question an image"),
    ("D4", 4, 4, 20, "shared", "FiRe-MPO, four questions an image and its one corrupt view"),
    ("D4own", 4, 4, 20, "own", "FiRe-MPO, four questions an image, a corrupt view for each"),
    ("F", 8, 1, 20, "own", "FiRe-MPO, a step of eight pairs on eight images"),
)


def workloads(scale: int) -> dict[str, Workload]:
    """Every workload; ``scale`` divides the pairs (1 for measuring, more for trying out)."""
    listed = [
        regular(name, title, pairs=max(1, pairs // scale), per_image=per_image, reply=reply, corrupt=corrupt)
        for name, pairs, per_image, reply, corrupt, title in REGULAR
    ]
    return {workload.name: workload for workload in (*listed, slake(max(1, 2 // scale)))}


def measure(workload: Workload, settings: argparse.Namespace) -> dict[str, Any]:
    """Everything about one workload, JSON-able."""
    began, shape = time.perf_counter(), SHAPES[settings.shape]
    dtype = getattr(torch, settings.dtype)
    policy = build(shape, device=settings.device, dtype=dtype)
    with tempfile.TemporaryDirectory(prefix="medpref-bench-") as folder:
        data = make(workload, shape, Path(folder))
        bench = Bench(policy, workload, data, settings)
        arms = make_arms(bench)
        watched, grads, caches = observe(bench, arms)
        timed = [Arm(name, arm.cold if name == "cold" else arm.step, bench.every(name)) for name, arm in arms.items()]
        seconds, losses = interleave(timed, settings.rounds)
        floor = floor_flops(bench)
        for arm in arms.values():
            arm.close()
    rate = product_rate(settings.device, dtype, size=8192 if settings.device == "cuda" else 1024)
    result = report(workload, seconds, watched, caches)
    result["agreement"] = {"gradient_difference_from_warm": grads, "last_losses": losses}
    result["floor"] = {"flops": floor, "product_rate": rate, "peak_rate": settings.peak or rate}
    result["settings"] = {
        key: str(value) if isinstance(value, Path) else value for key, value in vars(settings).items()
    }
    result["trl_micro_batch"] = bench.tried
    result["machine"] = describe(settings.device)
    result["seconds_taken"] = round(time.perf_counter() - began, 1)
    return result


def observe(bench: Bench, arms: dict[str, Any]) -> tuple[dict[str, Watched], dict[str, float], dict[str, int]]:
    """One watched step of every arm (it is the warm-up too), its gradient against ours, and what caches take."""
    watched, grads, caches, ours = {}, {}, {}, None
    for name in sorted(arms, key=lambda name: name != "warm"):
        arm = arms[name]
        model = arm.trainer.model if name.startswith("trl") else arm.policy.model
        if hasattr(arm, "open_caches") and name != "cold":
            arm.open_caches()
        work = _first_epoch(arm) if name == "cold" else arm.gradients
        watched[name] = watch(model, work, flops=predicted_flops(bench, arm))
        if hasattr(arm, "cache_bytes"):
            caches[name] = arm.cache_bytes()
        found = gradients_of(model)
        ours = found if ours is None else ours
        if not (name.startswith("trl") and "corrupt" in bench.workload.views):
            grads[name] = difference(ours, found)
    return watched, grads, caches


def _first_epoch(arm: Any) -> Callable[[], float]:
    """The caches built, then a step without its update."""

    def work() -> float:
        arm.open_caches()
        return arm.gradients()

    return work


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = parser_of(__doc__, rounds=7)
    parser.add_argument("--workload", nargs="+", default=["A"], choices=sorted(workloads(1)))
    parser.add_argument("--arms", nargs="+", choices=ARMS, help="default: all that the workload has")
    parser.add_argument("--shape", default="mini", choices=sorted(SHAPES))
    parser.add_argument("--backend", default="auto", help="attention back end of our arms")
    parser.add_argument("--max-tokens", type=int, default=16384, help="our nodes a micro-step")
    parser.add_argument("--micro", type=int, help="TRL's tuned micro-batch; default: tried out")
    parser.add_argument("--scale", type=int, default=1, help="divide the pairs, for trying out")
    parser.add_argument(
        "--peak", type=float, help="FLOP/s for the fractions, such as 790e12; default: a matrix product's"
    )
    parser.add_argument("--json", type=Path, help="where a single workload's result is written")
    parser.add_argument("--out", type=Path, help="a folder for NAME.json of each workload")
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
