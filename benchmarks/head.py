"""The vocabulary head alone: log p, forward and reverse KL of N rows, ours against plain full logits (workload E).

::

    OMP_NUM_THREADS=2 python benchmarks/head.py --out docs/benchmarks
    python benchmarks/head.py --device cuda --dtype bfloat16 --width 2560 --out runs/gpu

Peak memory is of tensors made in one forward and backward (inputs left out), found by a dispatch mode; on CUDA by the
allocator. Time is of both passes, the two interleaved.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from measure.flops import Flops
from measure.machine import describe
from measure.memory import LiveBytes
from measure.rounds import Arm, interleave, ratio, spread, synchronise
from torch import Tensor

from medpref.engine.head import Ask, read_head


class Case:
    """Random rows, a head, and weights of the three values in the loss."""

    def __init__(self, vocabulary: int, settings: argparse.Namespace) -> None:
        made = torch.Generator(settings.device).manual_seed(0)

        def normal(*size: int, scale: float) -> Tensor:
            values = torch.empty(*size, device=settings.device, dtype=getattr(torch, settings.dtype))
            return values.normal_(0, scale, generator=made)

        rows, width = settings.rows, settings.width
        self.chunk_bytes = settings.chunk_mib << 20 if settings.chunk_mib else None
        self.weight = normal(vocabulary, width, scale=width**-0.5)
        self.hidden = normal(rows, width, scale=1.0).requires_grad_(True)
        self.reference = self.hidden.detach() + normal(rows, width, scale=0.1)
        self.token = torch.randint(vocabulary, (rows,), device=settings.device, generator=made)
        self.row = torch.arange(rows, device=settings.device)
        self.up = [torch.rand(rows, device=settings.device, generator=made) for _ in range(3)]

    def loss(self, values: tuple[Tensor, ...]) -> Tensor:
        return sum(((one * weight).sum() for one, weight in zip(values, self.up, strict=True)), values[0].new_zeros(()))

    def naive(self) -> float:
        """Full logits of policy and reference in float32, differentiated by autograd."""
        log_p = (self.hidden @ self.weight.t()).float().log_softmax(-1)
        with torch.no_grad():
            log_q = (self.reference @ self.weight.t()).float().log_softmax(-1)
        chosen = log_p.gather(1, self.token[:, None])[:, 0]
        forward = (log_q.exp() * (log_q - log_p)).sum(-1)
        reverse = (log_p.exp() * (log_p - log_q)).sum(-1)
        return self._back(self.loss((chosen, forward, reverse)))

    def ours(self) -> float:
        """One sweep in tiles: the matrix is read once, the softmax is known at its end."""
        ask = Ask(
            edge_row=self.row,
            edge_token=self.token,
            divergence_rows=self.row,
            reference=self.reference,
            chunk_bytes=self.chunk_bytes,
        )
        out = read_head(self.hidden, self.weight, ask)
        return self._back(self.loss((out.log_prob, out.forward, out.reverse)))

    def _back(self, loss: Tensor) -> float:
        loss.backward()
        self.grad, self.hidden.grad = self.hidden.grad, None
        return float(loss.detach())


def measure(vocabulary: int, settings: argparse.Namespace) -> dict[str, Any]:
    """Both ways on one vocabulary."""
    case = Case(vocabulary, settings)
    watched, grads = {}, {}
    for name in ("naive", "ours"):
        watched[name] = watch(case, getattr(case, name))
        grads[name] = case.grad.double()
    gap = float((grads["naive"] - grads["ours"]).norm() / grads["naive"].norm())
    seconds, losses = interleave([Arm("naive", case.naive), Arm("ours", case.ours)], settings.rounds)
    rows = {name: {**watched[name], "seconds": spread(list(seconds[name].values()))} for name in seconds}
    memory = rows["naive"]["peak_bytes"] / rows["ours"]["peak_bytes"]
    faster = ratio(seconds["naive"], seconds["ours"])
    assert faster is not None
    print(
        f"\nE: {settings.rows} rows, width {settings.width}, vocabulary {vocabulary}, {settings.dtype}: "
        f"naive / ours: time {faster['median']:.2f} ({faster['min']:.2f}-{faster['max']:.2f}), memory {memory:.1f}"
    )
    for name, row in rows.items():
        said = f"{row['seconds']['median']:.2f} s, {row['peak_bytes'] / 2**20:.0f} MiB, {row['head_products']:.1f}"
        print(f"  {name:<6} {said} vocabulary products a row")
    print(f"  gradients differ by {gap:.1e} of their norm", flush=True)
    return {
        "vocabulary": vocabulary,
        "ratio_time": faster,
        "ratio_memory": memory,
        "arms": rows,
        "losses": losses,
        "gradient_difference": gap,
    }


def watch(case: Case, work: Any) -> dict[str, float]:
    """Peak bytes and products with the vocabulary matrix, a row."""
    cuda = case.weight.is_cuda
    if cuda:
        synchronise()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    with LiveBytes() as live, Flops(case.weight) as flops:
        work()
    peak = torch.cuda.max_memory_allocated() - before if cuda else live.held.peak
    return {"peak_bytes": peak, "head_products": flops.head_products / len(case.hidden)}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[151_936, 262_144])
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--chunk-mib", type=int, help="our tensors of one tile together; default: the engine's")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a folder for E.json")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    settings = parse(argv)
    torch.set_num_threads(settings.threads)
    file = settings.out / "E.json" if settings.out else None
    if file and file.exists() and not settings.again:
        print(f"E: {file} is there, skipped")
        return
    cases = [measure(vocabulary, settings) for vocabulary in settings.vocabulary]
    result = {
        "workload": "E",
        "title": f"the head alone: log p and both KLs of {settings.rows} rows",
        "cases": cases,
        "settings": {key: value for key, value in vars(settings).items() if key != "out"},
        "machine": describe(settings.device),
    }
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
