"""What a measured workload says: ratios by round, work a pair, and the table for the eye."""

from __future__ import annotations

from typing import Any

from measure.arms import ARMS
from measure.observe import Watched
from measure.rounds import ratio, spread
from measure.workloads import Workload

OURS = ("warm", "online", "cold", "layered", "plain")
THEIRS = ("trl_default", "trl_tuned", "trl_own_head", "naive")


def report(
    workload: Workload, seconds: dict[str, dict[int, float]], watched: dict[str, Watched], caches: dict[str, int]
) -> dict[str, Any]:
    """Ratios by round, and per arm what it took and did."""
    pairs = len(workload.questions)
    rows = {}
    for name in ARMS:
        if seconds.get(name):
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
        for arm in OURS
        for slow in THEIRS
        if arm in seconds and slow in seconds
    }
    return {
        "workload": workload.name,
        "title": workload.title,
        "pairs_per_round": pairs,
        "images": len({question.image for question in workload.questions}),
        "ratio_default": against.get("warm_x_trl_default"),
        "ratio_tuned": against.get("warm_x_trl_tuned"),
        "peak_memory_ratio": {
            name: row["peak_bytes"] / rows["warm"]["peak_bytes"] for name, row in rows.items() if name != "warm"
        },
        "ratios": against,
        "epochs": epochs(rows),
        "cache_bytes": caches,
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
    for arm in OURS:
        found = {slow: result["ratios"].get(f"{arm}_x_{slow}") for slow in THEIRS}
        said = [f"{slow} {v['median']:.2f} ({v['min']:.2f}-{v['max']:.2f})" for slow, v in found.items() if v]
        lines.append(f"  {arm} is faster than: {', '.join(said)}")
    for number, total in result["epochs"].items():
        said = ", ".join(f"{name[2:]} {value:.2f}" for name, value in total.items() if name.startswith("x_"))
        lines.append(f"  {number} epoch(s), caches built: ours {total['ours']:.1f} s; over ours: {said}")
    fraction = result["floor"]["flops"] / result["floor"]["peak_rate"] / result["arms"]["warm"]["seconds"]["median"]
    busy = result["arms"]["warm"]["flops_per_second"] / result["floor"]["peak_rate"]
    lines.append(f"  warm: {busy:.0%} of the products' rate, {fraction:.0%} of the floor (no work but the needed)")
    gap = max(result["agreement"]["gradient_difference_from_warm"].values())
    lines.append(f"  gradients differ from ours by at most {gap:.1e} of their norm")
    print("\n".join(lines), flush=True)
