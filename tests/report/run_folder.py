"""A run folder as the stages write it, made of noise, ellipses and arithmetic: no model, no training, any size."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medpref import store
from medpref.schema import (
    Example,
    ImageRef,
    Mask,
    OwnReply,
    PreferencePair,
    Region,
    Reply,
    Span,
    VerdictRow,
)
from medpref.seeds import generator
from tests.report.looks import write_looks

SIDE = 96
KINDS = ("presence", "side", "zone", "severity", "abnormality", "report")
MODELS = {"base": 0.42, "sft": 0.58, "mmedpo_sft_control": 0.60, "mmedpo": 0.72, "fire_mpo": 0.66}
ANSWERS = {
    "presence": ("Is there a pleural effusion?", "Yes.", "No."),
    "side": ("On which side is the effusion?", "Left.", "Right."),
    "zone": ("In which zone does the consolidation lie?", "Lower zone.", "Upper zone."),
    "severity": ("How severe is the effusion?", "Moderate.", "Severe."),
    "abnormality": ("Which abnormality is seen?", "Left pleural effusion.", "Right pneumothorax."),
    "report": (
        "Write the findings.",
        "There is a moderate left pleural effusion. The heart size is normal.",
        "There is a large right pneumothorax. The heart size is normal.",
    ),
}


def build_run(root: Path, *, studies: int = 24, pairs: int = 40, seed: int = 0, side: int = SIDE) -> Path:
    """A whole run under ``root``: two recipes, one control, five models; returns ``root``."""
    examples = _examples(root, studies=studies, seed=seed, side=side)
    store.write_lines(root / "examples" / "examples.jsonl", examples)
    store.write_json(root / "examples" / "manifest.json", {"counts": {"train": len(examples)}, "seconds": 1.2})
    for name in ("mmedpo", "fire_mpo"):
        _pairs(root, name, examples, count=pairs, seed=seed)
    for name in ("sft", "mmedpo_sft_control", "mmedpo", "fire_mpo"):
        _training(root, name, seed=seed)
    test = [example for example in examples if example.split == "test"]
    models = {name: _evaluation(root, name, test, skill=skill, seed=seed) for name, skill in MODELS.items()}
    comparisons = _comparisons(models)
    store.write_json(root / "eval" / "comparisons" / "comparisons.json", comparisons)
    store.write_json(root / "run.json", run_json())
    store.write_json(root / "summary.json", summary_json(models, comparisons))
    return root


def run_json() -> dict[str, Any]:
    recipes = ["mmedpo", "fire_mpo"]
    asked = {"recipes": recipes, "source": "phantom", "policy": "tiny:llava-mistral", "seed": 0}
    return {**asked, "overrides": ["train.steps=120"], "control": True, "strict": False, "medpref": "0.1.0"}


def summary_json(models: Mapping[str, Sequence[dict[str, Any]]], comparisons: list[dict[str, Any]]) -> dict[str, Any]:
    stages = ("examples", "train/sft", "replies", "pairs/mmedpo", "pairs/fire_mpo", "train/mmedpo", "train/fire_mpo")
    return {
        "recipe": "mmedpo+fire_mpo",
        "source": "phantom",
        "policy": "tiny:llava-mistral",
        "synthetic": True,
        "seed": 0,
        "arms": [{"name": name, "role": "recipe", "control": None} for name in models],
        "models": {name: _overall(rows) for name, rows in models.items()},
        "comparisons": comparisons,
        "seconds": {name: round(3.1 * (1 + index) ** 1.4, 1) for index, name in enumerate(stages)},
        "versions": {"python": "3.11.9", "medpref": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
    }


def film(rng: np.random.Generator, side: int) -> np.ndarray:
    """A grey picture with two dark lungs, uint8 [side, side]."""
    y, x = np.mgrid[0:side, 0:side] / side
    grey = 150 - 40 * np.abs(x - 0.5) + 12 * np.sin(y * 40)
    for centre in (0.32, 0.68):
        lung = ((x - centre) / 0.15) ** 2 + ((y - 0.45) / 0.32) ** 2 < 1
        grey = np.where(lung, 55 + 20 * y, grey)
    return np.clip(grey + rng.normal(0, 6, (side, side)), 0, 255).astype(np.uint8)


def disc(rng: np.random.Generator, side: int) -> np.ndarray:
    """A round mask in one of the lungs, bool [side, side]."""
    y, x = np.mgrid[0:side, 0:side] / side
    centre, height = rng.choice([0.32, 0.68]), rng.uniform(0.3, 0.65)
    return ((x - centre) / rng.uniform(0.06, 0.13)) ** 2 + ((y - height) / rng.uniform(0.06, 0.13)) ** 2 < 1


def run_lengths(mask: np.ndarray) -> Mask:
    """A boolean array as the schema's run lengths, starting with zeros."""
    flat = mask.ravel()
    cuts = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *cuts.tolist(), flat.size]).tolist()
    return Mask(height=mask.shape[0], width=mask.shape[1], runs=tuple([0, *runs] if flat[0] else runs))


def png(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    Image.fromarray(array).save(held, "PNG")
    return held.getvalue()


def put(root: Path, folder: str, array: np.ndarray) -> ImageRef:
    name = store.put_blob(root / folder, png(array), ".png")
    return ImageRef(path=f"{folder}/{name}", sha256=Path(name).stem)


def region_of(mask: np.ndarray) -> Region:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Region(box=box, label="pleural effusion", mask=run_lengths(mask), origin="phantom")


def _examples(root: Path, *, studies: int, seed: int, side: int) -> list[Example]:
    found = []
    for study in range(studies):
        rng = generator(seed, "study", str(study))
        grey, mask = film(rng, side), disc(rng, side)
        image = put(root, "examples", np.where(mask, np.minimum(grey + 70, 255), grey).astype(np.uint8))
        split = "test" if study % 3 == 0 else "train"
        for kind in KINDS:
            question, answer, _ = ANSWERS[kind]
            found.append(
                Example(
                    id=f"phantom/{study:05d}/{kind}",
                    patient=f"patient-{study:05d}",
                    images=(image,),
                    question=question,
                    answer=answer,
                    split=split,
                    kind=kind,
                    answer_type="closed" if kind in ("presence", "side") else "report" if kind == "report" else "open",
                    regions=(region_of(mask),),
                    tags={"shortcut": "broken" if study % 2 else "held", "view": "AP" if study % 4 else "PA"},
                    source="phantom",
                )
            )
    return found


def _pairs(root: Path, name: str, examples: Sequence[Example], *, count: int, seed: int) -> None:
    train = [example for example in examples if example.split == "train"]
    folder = f"pairs/{name}"
    pairs = []
    for index in range(count):
        example = train[index % len(train)]
        rng = generator(seed, name, str(index))
        region = example.regions[0]
        with Image.open(example.images[0].locate(root)) as held:
            clean = np.asarray(held)
        left, top, right, bottom = region.box
        noisy = clean.copy()
        patch = clean[top:bottom, left:right] + rng.normal(0, 45, (bottom - top, right - left))
        noisy[top:bottom, left:right] = np.clip(patch, 0, 255)
        _, chosen, rejected = ANSWERS[example.kind]
        start, end = _differing(chosen, rejected)
        pairs.append(
            PreferencePair(
                id=f"{example.id}/{name}/{index}",
                example=example.id,
                patient=example.patient,
                question=example.question,
                views={"clean": example.images, "corrupt": (put(root, folder, noisy),)},
                replies={
                    "chosen": Reply(text=chosen, spans=(Span(start=start, end=len(chosen) - end),), author="reference"),
                    "rejected": Reply(
                        text=rejected, spans=(Span(start=start, end=len(rejected) - end),), author="own greedy reply"
                    ),
                },
                weight=round(float(np.clip(1 + 0.3 * rng.normal(), 0.75, 1.25)), 4),
                kind=example.kind,
                provenance={
                    "writer": {"kind": "correct", "of": "own"},
                    "miner": {"cell": "confident_wrong", "confidence": 0.83},
                    "regions": [region.model_dump(mode="json", exclude={"mask"})],
                    "corruption": {"0": _drawn(region)},
                    "error": "side",
                    "builder": "noise",
                    "seed": 7,
                },
            )
        )
    store.write_lines(root / folder / "pairs.jsonl", pairs)
    reasons = ["chosen and rejected say the same"] * 7 + ["no region was found"] * 3
    dropped = [
        {"example": f"x{n}", "builder": "noise", "step": "write", "reason": reason} for n, reason in enumerate(reasons)
    ]
    store.write_lines(root / folder / "dropped.jsonl", dropped)
    card = {
        "inputs": "0" * 64,
        "medpref": "0.1.0",
        "counts": {"pairs": count, "dropped": 10, "corrupt_views": count},
        "examples": len(train),
        "leaks": {"held_out": 8, "by_patient": 0, "by_image": 0},
        "errors": {"side": count},
        "style": {"auc": 0.53, "folds": 5},
        "weights": {"n": count, "mean": 1.0, "histogram": {"edges": [0.75, 1.0, 1.25], "counts": [count, 0]}},
        "mask_share": {"n": count, "mean": 0.041, "median": 0.04},
        "change_inside": {"n": count, "mean": 31.2},
        "change_outside": {"n": count, "mean": 0.0},
    }
    store.write_json(root / folder / "card.json", card)


def _drawn(region: Region) -> dict[str, Any]:
    mask = region.mask.model_dump(mode="json") if region.mask else None
    return {"kind": "gaussian_noise", "sigma_px": 45, "seed": 123, "mask": mask, "change": {"mask_share": 0.04}}


def _differing(a: str, b: str) -> tuple[int, int]:
    """Lengths of the equal beginning and the equal end of two texts, at least one character left in each."""
    most = min(len(a), len(b)) - 1
    start = next((i for i in range(most) if a[i] != b[i]), most)
    end = next((i for i in range(most - start) if a[-1 - i] != b[-1 - i]), most - start)
    return start, end


def _training(root: Path, name: str, *, seed: int) -> None:
    rng = generator(seed, "training", name)
    steps = 120
    rows = []
    for step in range(1, steps + 1):
        share = step / steps
        row = {
            "step": step,
            "epoch": share,
            "loss": (3.2 if "sft" in name else 0.69) * math.exp(-1.6 * share) + 0.05 * rng.normal(),
            "learning_rate": 1e-5 * 0.5 * (1 + math.cos(math.pi * share)),
            "grad_norm": 1.5 + 0.4 * rng.normal(),
            "seconds": 0.21,
        }
        if "sft" not in name:
            margin = 2.4 * share + 0.3 * rng.normal()
            row |= {
                "rewards/chosen": 0.4 * share + 0.1 * rng.normal(),
                "rewards/rejected": 0.4 * share - margin,
                "rewards/margins": margin,
                "rewards/accuracies": min(1.0, 0.5 + 0.5 * share + 0.05 * rng.normal()),
                "logps/chosen": -12 + 0.5 * share + 0.4 * rng.normal(),
                "logps/rejected": -13 - 6 * share + 0.4 * rng.normal(),
                "terms/text": 0.69 * math.exp(-share),
                "terms/visual": 0.69 * math.exp(-0.5 * share) + 0.03 * rng.normal(),
            }
        rows.append(row)
    store.write_lines(root / "train" / name / "steps.jsonl", rows)
    inputs = {
        "objective": [{"kind": "margin", "beta": 0.1}],
        "train": {"learning_rate": 1e-5, "batch": 8, "lora": {"r": 16}},
    }
    manifest = {
        "stage": f"train/{name}",
        "hash": "0" * 64,
        "inputs": inputs,
        "counts": {"steps": steps},
        "seconds": 25.3,
    }
    store.write_json(root / "train" / name / "manifest.json", manifest)


def _evaluation(root: Path, name: str, test: Sequence[Example], *, skill: float, seed: int) -> list[dict[str, Any]]:
    replies, verdicts = [], []
    for example in test:
        right = generator(seed, "answer", name, example.id).random() < skill
        _, good, bad = ANSWERS[example.kind]
        text = good if right else bad
        sure = generator(seed, "sure", name, example.id).random() ** (0.3 if right else 1.0)
        replies.append(OwnReply(example=example.id, text=text, log_probs=(math.log(max(sure, 1e-3)),) * 3))
        metric = "closed_accuracy" if example.answer_type == "closed" else "open_exact"
        reason = f"{text.lower().rstrip('.')!r} for {example.answer.lower().rstrip('.')!r}"
        shared = {"example": example.id, "patient": example.patient, "kind": example.kind, "tags": example.tags}
        verdicts.append(VerdictRow(metric=metric, value=float(right), reason=reason, **shared))
        verdicts.append(VerdictRow(metric="grounding_drop", value=skill + 0.1 * len(example.id) % 1, **shared))
    write_looks(root / "eval" / name, name, verdicts, skill=skill, seed=seed)
    rows = _estimates(verdicts)
    alarms = [
        {
            "name": "modal_template",
            "value": 0.31,
            "text": "31 % of the replies are one template",
            "level": "warn" if skill < 0.5 else "ok",
        },
        {"name": "image_leak", "value": 0, "text": "no test image occurs in train", "level": "ok"},
    ]
    folder = root / "eval" / name
    store.write_lines(folder / "replies.jsonl", replies)
    store.write_lines(folder / "verdicts.jsonl", verdicts)
    store.write_json(folder / "estimates.json", {"model": name, "estimates": rows, "alarms": alarms})
    return rows


def _estimates(verdicts: Sequence[VerdictRow]) -> list[dict[str, Any]]:
    parts: dict[tuple[str, str, str], list[VerdictRow]] = {}
    for row in verdicts:
        names = ("overall_accuracy", row.metric) if row.metric != "grounding_drop" else (row.metric,)
        for name in names:
            for kind, part in (("all", "all"), (row.kind, "all"), *(("all", f"{k}={v}") for k, v in row.tags.items())):
                parts.setdefault((name, kind, part), []).append(row)
    found = []
    for (metric, kind, part), rows in parts.items():
        values = np.array([row.value for row in rows])
        half = 1.96 * float(values.std()) / math.sqrt(len(values))
        mean = float(values.mean())
        low, high = (
            (mean - half, mean + half) if metric == "grounding_drop" else (max(0, mean - half), min(1, mean + half))
        )
        counts = {"items": len(rows), "clusters": len({row.patient for row in rows})}
        found.append({"metric": metric, "kind": kind, "slice": part, "value": mean, "low": low, "high": high, **counts})
    return found


def _overall(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    fields = ("value", "low", "high", "items", "clusters")
    kept = [row for row in rows if row["kind"] == "all"]
    return {
        row["metric"] + ("" if row["slice"] == "all" else f"@{row['slice']}"): {key: row[key] for key in fields}
        for row in kept
    }


def _comparisons(models: Mapping[str, Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    couples = [("sft", "base"), ("mmedpo", "mmedpo_sft_control"), ("fire_mpo", "mmedpo_sft_control")]
    couples += [("mmedpo", "sft"), ("fire_mpo", "sft"), ("fire_mpo", "mmedpo")]
    found = []
    for a, b in couples:
        first, second = _overall(models[a]), _overall(models[b])
        for metric in first:
            difference = first[metric]["value"] - second[metric]["value"]
            half = (first[metric]["high"] - first[metric]["low"]) * 0.55
            z = abs(difference) / max(half / 1.96, 1e-9)
            p = math.erfc(z / math.sqrt(2))
            counts = {key: first[metric][key] for key in ("items", "clusters")}
            ends = {"low": difference - half, "high": difference + half}
            row = {
                "a": a,
                "b": b,
                "metric": metric,
                "difference": difference,
                **ends,
                "p": p,
                "p_holm": min(1.0, 3 * p),
            }
            found.append({**row, **counts})
    return found
