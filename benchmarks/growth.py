"""How work and time a pair grow with questions an image and with image tokens, ours and TRL's.

::

    OMP_NUM_THREADS=2 python benchmarks/growth.py --out docs/benchmarks --plot docs/images/growth.png

``--draw`` draws from the JSON that is there and measures nothing. From eight questions on there is one round.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from measure.machine import describe
from measure.model import SHAPES, build
from measure.observe import watch
from measure.options import parser_of
from measure.ours import Ours
from measure.rounds import Arm, interleave, spread
from measure.theirs import Theirs
from measure.workloads import make, regular

LABELS = {"trl_default": "TRL 1.16, defaults", "trl_tuned": "TRL 1.16, tuned", "warm": "medpref, caches warm"}
MICRO = 4
"""The tuned micro-batch, in pairs; ``throughput.py`` tries which is best, the curves do not hang on it."""


def point(per_image: int, side: int, settings: argparse.Namespace) -> dict[str, Any]:
    """Tokens, FLOPs and seconds a pair of every arm, for one image with some questions."""
    shape = dataclasses.replace(SHAPES[settings.shape], side=side)
    policy = build(shape, device=settings.device, dtype=getattr(torch, settings.dtype))
    workload = regular(f"K{per_image}T{side}", "growth", pairs=per_image, per_image=per_image, reply=20)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="medpref-bench-") as folder:
        data = make(workload, shape, Path(folder))
        arms: dict[str, Any] = {"warm": Ours(policy, workload, data)}
        arms["warm"].open_caches()
        if not settings.ours:
            arms["trl_default"] = Theirs(policy, workload, data)
            arms["trl_tuned"] = Theirs(policy, workload, data, checkpointing=False, micro=MICRO)
        for name, arm in arms.items():
            model = arm.policy.model if name == "warm" else arm.trainer.model
            seen = watch(model, arm.gradients)
            rows[name] = {"tokens": seen.tokens / per_image, "flops": seen.flops / per_image}
            model.zero_grad(set_to_none=True)
        rounds = settings.rounds if per_image < 8 else 1
        seconds, _ = interleave([Arm(name, arm.step) for name, arm in arms.items()], rounds)
        for name, arm in arms.items():
            rows[name]["seconds"] = spread([value / per_image for value in seconds[name].values()])
            arm.close()
    gc.collect()
    return {"per_image": per_image, "image_tokens": side * side, "arms": rows}


def draw(result: dict[str, Any], file: Path) -> None:
    """Tokens and seconds a pair against both, as one figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6.2), sharex="col", layout="constrained")
    tokens = result["per_image"][0]["image_tokens"]
    curves = (
        ("per_image", f"questions an image ({tokens} image tokens)"),
        ("image_tokens", "image tokens (one question)"),
    )
    measures = (("tokens", "tokens computed a pair"), ("seconds", "seconds a pair"))
    for column, (key, across) in enumerate(curves):
        points = sorted(result[key], key=lambda one: one[key])
        for row, (what, up) in enumerate(measures):
            axis = axes[row][column]
            for name, label in LABELS.items():
                values = [one["arms"][name][what] for one in points if name in one["arms"]]
                if values:
                    heights = [value["median"] if isinstance(value, dict) else value for value in values]
                    axis.plot([one[key] for one in points], heights, marker="o", markersize=4, label=label)
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.set_xticks([one[key] for one in points], [str(one[key]) for one in points])
            axis.minorticks_off()
            axis.grid(alpha=0.3)
            axis.set_ylabel(up)
            if row == 1:
                axis.set_xlabel(across)
    axes[0][0].legend(frameon=False, fontsize=9)
    machine = result["machine"]
    figure.suptitle(f"LoRA DPO step on {machine['gpu'] or machine['cpu']}, {machine['threads']} threads", fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130, metadata={"Software": None})
    pyplot.close(figure)


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Both curves."""
    side = SHAPES[settings.shape].side
    asked = [(per_image, side) for per_image in settings.questions] + [(1, one) for one in settings.sides]
    points: dict[tuple[int, int], dict[str, Any]] = {}
    for per_image, one in asked:
        if (per_image, one) not in points:
            sys.stderr.write(f"growth: {per_image} questions, {one * one} image tokens\n")
            points[per_image, one] = point(per_image, one, settings)
    return {
        "workload": "growth",
        "title": "work and time a pair against questions an image and image tokens",
        "per_image": [points[per_image, side] for per_image in settings.questions],
        "image_tokens": [points[1, one] for one in settings.sides],
        "machine": describe(settings.device),
    }


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = parser_of(__doc__, rounds=2)
    parser.add_argument("--questions", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--sides", type=int, nargs="+", default=[16, 24, 32, 45], help="square roots of image tokens")
    parser.add_argument("--shape", default="mini", choices=sorted(SHAPES))
    parser.add_argument("--ours", action="store_true", help="our arm alone, for a machine without TRL")
    parser.add_argument("--out", type=Path, required=True, help="a folder for growth.json")
    parser.add_argument("--plot", type=Path, help="a file for the figure")
    parser.add_argument("--draw", action="store_true", help="draw from the JSON that is there, measure nothing")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    settings = parse(argv)
    torch.set_num_threads(settings.threads)
    warnings.filterwarnings("ignore")
    file = settings.out / "growth.json"
    if settings.draw or (file.exists() and not settings.again):
        result = json.loads(file.read_text(encoding="utf-8"))
    else:
        result = measure(settings)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for key in ("per_image", "image_tokens"):
        for one in result[key]:
            arms = one["arms"].items()
            said = [f"{name} {row['tokens']:.0f} tokens {row['seconds']['median']:.3f} s" for name, row in arms]
            print(f"{key} {one[key]:>5}: {'; '.join(said)}")
    if settings.plot:
        draw(result, settings.plot)


if __name__ == "__main__":
    main()
