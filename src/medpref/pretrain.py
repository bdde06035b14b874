"""Pretrains the tiny bases that ship with medpref, on balanced phantoms: ``python -m medpref.pretrain [NAME ...]``.

Each base is the SFT stage of a run from random weights (no shortcut planted, so that the model learns to look), then
evaluated and stored in half precision beside a card that records seeds, steps, data, seconds and what it perceives.
The weights are ours and know synthetic films only.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from medpref import store
from medpref.models.fingerprint import BASES, TINY
from medpref.run import RunConfig, carry_out
from medpref.summary import versions

SOURCE = "phantom:studies={studies},validation=0,test=200,shortcut=0,test_shortcut=0,size_px=96"
TRAIN = {
    "lora": "null",
    "freeze_tower": "false",
    "freeze_projector": "false",
    "learning_rate": "1.5e-3",
    "batch": "256",
    "warmup": "0.15",
    "weight_decay": "0.01",
    "save_every": "100",
    "max_tokens_per_batch": "8192",
}


def pretrain(name: str, *, out: Path, studies: int, steps: int, rounds: int, seed: int) -> dict[str, Any]:
    """Train one base in rounds (fresh films and a learning-rate cycle each), evaluate and ship it; returns its card."""
    settings = [f"sft.{key}={value}" for key, value in TRAIN.items()] + [f"sft.steps={steps}"]
    policy = f"tiny:{name}@random:{seed}"
    seconds: dict[str, float] = {}
    for index in range(rounds):
        config = RunConfig(
            recipes=("sft",),
            source=SOURCE.format(studies=studies),
            policy=policy,
            seed=seed + index,
            overrides=tuple(settings),
        )
        last = index == rounds - 1
        folder = out / f"{name}-round-{index}"
        run = carry_out(config, folder, until="evaluate" if last else "sft")
        seconds |= {f"round {index}, {stage}": round(value, 1) for stage, value in run.seconds.items()}
        policy = str(folder / "train" / "sft")
    from medpref.models.policy import load_policy
    from medpref.models.tiny import save_base

    shipped = Path(str(BASES)) / name
    shutil.rmtree(shipped, ignore_errors=True)
    save_base(load_policy(policy), shipped)
    card = {
        "name": f"tiny:{name}",
        "trained_on": "synthetic phantom chest radiographs only; says nothing about clinical performance",
        "source": config.source,
        "seed": seed,
        "rounds": rounds,
        "steps_per_round": steps,
        "train": TRAIN,
        "seconds": seconds,
        "estimates": perceived(folder),
        "versions": versions(),
        "licence": "Apache-2.0",
    }
    store.write_json(shipped / "card.json", card)
    return card


def perceived(out: Path) -> dict[str, dict[str, float]]:
    """Accuracy on held-out phantoms, overall and by question kind, beside the constant answer's."""
    rows = store.read_json(out / "eval" / "sft" / "estimates.json")["estimates"]
    wanted = {"overall_accuracy", "constant_accuracy"}
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["metric"] in wanted and row["slice"] == "all":
            found.setdefault(row["kind"], {})[row["metric"]] = round(row["value"], 4)
    return found


def main() -> None:
    """Command line: which bases, how long, where the run folders lie (they resume)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(TINY), help=f"among {', '.join(TINY)}")
    parser.add_argument("--studies", type=int, default=9_000, help="of each round")
    parser.add_argument("--steps", type=int, default=700, help="of each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "medpref-phantom-base")
    chosen = parser.parse_args()
    for name in chosen.names:
        pretrain(
            name,
            out=chosen.out,
            studies=chosen.studies,
            steps=chosen.steps,
            rounds=chosen.rounds,
            seed=chosen.seed,
        )


if __name__ == "__main__":
    main()
