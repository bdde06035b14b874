"""Unified instruction data (CheXPO, arXiv:2507.06959): basic, region and compare questions with rationale targets.

From train examples with facts, regions or findings to more examples and to what SFT reads. Boxes are painted into
copies of the images, journalled one by one; the bytes of the files do not depend on a kill.

Knows: the train split, and which patients and images other splits hold; of these nothing is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medpref import store
from medpref.curation.candidate import COMPARE, REGION, Candidate, NotMade
from medpref.curation.card import leaks
from medpref.curation.draft import Draft
from medpref.curation.instruct_compare import compare_questions
from medpref.curation.instruct_region import region_questions
from medpref.curation.mine import matched, quotas, stratum
from medpref.curation.pool import gather
from medpref.curation.rationale import Rationale
from medpref.curation.seen import Seen, seen_of
from medpref.errors import DataError
from medpref.imaging.decode import encode_png, read_array, read_image
from medpref.imaging.mark import paint_box
from medpref.progress import track
from medpref.recipe import Instructions
from medpref.schema import CHOSEN, CLEAN, Example, ImageRef, PreferencePair, Reply
from medpref.seeds import derive_seed

BASIC, JOURNAL = "basic", "journal.jsonl"
Groups = dict[str, list[Candidate]]


def build_instructions(
    settings: Instructions,
    examples: Sequence[Example],
    out: Path,
    *,
    root: Path,
    prefix: str,
    seed: int,
    held_out: Sequence[Example] = (),
) -> dict[str, int]:
    """Write ``examples.jsonl`` (those made), ``pairs.jsonl`` (for SFT), ``dropped.jsonl``, ``card.json``; counts.

    ``examples`` are the train split's, ``held_out`` all others. A made example's images lie under ``prefix`` (the final
    name of ``out`` below ``root``) or are the source's own. DataError where nothing at all comes out.
    """
    made, notes = _made(settings, examples, held_out, root=root, seed=seed)
    own: dict[str, list[Example]] = {task: [one for one in examples if task_of(one) == task] for task in settings.tasks}
    chosen = _chosen(settings, own, made, seed=seed)
    with store.Journal(out / JOURNAL) as journal:
        kept = {
            task: [_painted(one, journal, out, root=root, prefix=prefix) for one in track(held, f"{task} questions")]
            for task, held in chosen.items()
        }
    every = [example for held in kept.values() for example in held]
    if not every:
        todo = "ask for other tasks, or give the examples facts and regions"
        raise DataError(f"instructions {', '.join(settings.tasks)}", given="no question", expected="one", todo=todo)
    before = {example.id for example in examples}
    new = [example for example in every if example.id not in before]
    pairs, why_answer = _targets(settings, every, [*examples, *new], root=root, seed=seed)
    store.write_lines(out / "examples.jsonl", new)
    store.write_lines(out / "pairs.jsonl", pairs)
    store.write_lines(out / "dropped.jsonl", [note._asdict() for note in notes])
    counts = _counts(kept, new, pairs)
    told = {
        "settings": settings.model_dump(mode="json"),
        "counts": counts,
        "tasks": {task: _told(task, own[task], made[task], kept[task]) for task in settings.tasks},
        "why_answer": why_answer,
        "not_made": _tally(f"{note.task}: {note.reason}" for note in notes),
        "leaks": leaks(pairs, held_out),
    }
    store.write_json(out / "card.json", told)
    (out / JOURNAL).unlink()
    return counts


def _counts(
    kept: Mapping[str, Sequence[Example]], new: Sequence[Example], pairs: Sequence[PreferencePair]
) -> dict[str, int]:
    """Questions in all and of each task, how many of them were made, have a rationale target, or show two images."""
    return {
        "questions": len(pairs),
        **{task: len(held) for task, held in kept.items()},
        "made": len(new),
        "rationales": sum(pair.provenance["target"] == "rationale" for pair in pairs),
        "two_images": sum(len(pair.views[CLEAN]) == 2 for pair in pairs),
    }


def task_of(example: Example) -> str:
    """The task that a source's own question belongs to, by its kind."""
    return example.kind if example.kind in (REGION, COMPARE) else BASIC


def _made(
    settings: Instructions, examples: Sequence[Example], held_out: Sequence[Example], *, root: Path, seed: int
) -> tuple[Groups, list[NotMade]]:
    """Every question that can be made, by task, and why the others cannot."""
    patients = {example.patient for example in held_out}
    images = {ref.sha256 for example in held_out for ref in example.images}
    pool, notes = [], []
    wanted = [task for task in (REGION, COMPARE) if task in settings.tasks]
    for seen in seen_of(examples):
        if seen.first.patient in patients or seen.ref.sha256 in images:
            notes += [NotMade(task, seen.first.id, "its patient or image is in another split") for task in wanted]
        else:
            pool.append(seen)
    found: list[Candidate | NotMade] = []
    for seen in track(pool, "region questions") if REGION in wanted else ():
        found += _about_regions(seen, root)
    if COMPARE in wanted:
        found += compare_questions(pool, seed=seed, ordered=settings.ordered)
    groups: Groups = {task: [] for task in settings.tasks}
    taken = {example.id for example in examples}
    for one in found:
        if isinstance(one, NotMade):
            notes.append(one)
        elif one.example.id in taken:
            notes.append(NotMade(one.example.kind, one.example.id, "the source has an example of this id"))
        else:
            groups[one.example.kind].append(one)
    return groups, notes


def _about_regions(seen: Seen, root: Path) -> Iterable[Candidate | NotMade]:
    width, height = read_image(seen.ref.locate(root)).size if seen.regions else (0, 0)
    return region_questions(seen, width=width, height=height)


def _chosen(settings: Instructions, own: Mapping[str, Sequence[Example]], made: Groups, *, seed: int) -> Groups:
    """Of each task what is kept, the source's own first: all of them and as many made ones as there are basic ones.

    Under a ``size`` every task gets an equal share of it, leftovers redistributed, and own and made ones are equals.
    """
    held = {task: [Candidate(one, stratum(one)) for one in examples] for task, examples in own.items()}
    if settings.size is None:
        rooms = {
            task: max(0, len(held[BASIC]) - len(held[task])) if BASIC in held else len(made[task]) for task in held
        }
        return {
            task: [*held[task], *drawn(made[task], rooms[task], mix=settings.mix, seed=seed)] for task in settings.tasks
        }
    everything = {task: [*held[task], *made[task]] for task in settings.tasks}
    able: dict[str, int] = {
        task: len(drawn(group, len(group), mix=settings.mix, seed=seed)) for task, group in everything.items()
    }
    shares = quotas(able, settings.size, 1.0)
    return {task: drawn(group, shares[task], mix=settings.mix, seed=seed) for task, group in everything.items()}


def drawn(group: Sequence[Candidate], size: int, *, mix: float, seed: int) -> list[Candidate]:
    """At most ``size`` of the candidates in balance over their strata, yes and no in equal numbers; in their order."""
    strata: dict[str, list[Candidate]] = {}
    for one in group:
        strata.setdefault(one.stratum, []).append(one)
    taken = _taken(matched({name: len(held) for name, held in strata.items()}), size, mix)
    picked: set[str] = set()
    for name, held in strata.items():
        order = sorted(held, key=lambda one: derive_seed(seed, "instructions", one.example.id))
        picked |= {one.example.id for one in order[: taken[name]]}
    return [one for one in group if one.example.id in picked]


def _taken(counts: Mapping[str, int], size: int, mix: float) -> dict[str, int]:
    """Quotas that sum to at most ``size``; what matching yes with no takes away goes to other strata."""
    taken = dict.fromkeys(counts, 0)
    for total in range(size, size + len(counts) + 1):
        wider = matched(quotas(counts, total, mix)) if any(counts.values()) else taken
        if sum(wider.values()) > size:
            break
        taken = wider
    return taken


def _painted(one: Candidate, journal: store.Journal, out: Path, *, root: Path, prefix: str) -> Example:
    """The example, its box painted into a copy of its image."""
    box = one.box
    if box is None:
        return one.example

    def work() -> dict[str, str]:
        data = encode_png(paint_box(read_array(one.example.images[0].locate(root)), box))
        return {"path": f"{prefix}/{store.put_blob(out, data, '.png')}", "sha256": store.digest(data)}

    ref = ImageRef(**journal.get(f"{one.example.images[0].sha256}/{box}", work))
    return one.example.model_copy(update={"images": (ref,)})


def _targets(
    settings: Instructions, kept: Sequence[Example], known: Sequence[Example], *, root: Path, seed: int
) -> tuple[list[PreferencePair], dict[str, int]]:
    """What SFT reads of each example, and why a target is the answer alone, by question kind."""
    context = gather(known, {}, seed=seed, root=root)
    writer = Rationale(answer=settings.rationale) if settings.rationale else None
    pairs, reasons = [], []
    for example in kept:
        draft = writer.write(example, context, role=CHOSEN, other=None) if writer else None
        if isinstance(draft, Draft):
            reply, notes = draft.replies[CHOSEN], {"target": "rationale", **draft.notes}
        else:
            reply, notes = Reply(text=example.answer, author="reference"), {"target": "answer"}
            reasons += [f"{example.kind}: {draft.reason}"] if draft else []
        pairs.append(_sft_pair(example, reply, notes))
    return pairs, _tally(reasons)


def _sft_pair(example: Example, reply: Reply, notes: Mapping[str, Any]) -> PreferencePair:
    return PreferencePair(
        id=f"{example.id}/sft",
        example=example.id,
        patient=example.patient,
        question=example.question,
        views={CLEAN: example.images},
        replies={CHOSEN: reply},
        kind=example.kind,
        provenance={"task": task_of(example), **notes},
    )


def _told(task: str, own: Sequence[Example], made: Sequence[Candidate], kept: Sequence[Example]) -> dict[str, Any]:
    """A task's numbers for the card: made questions by stratum as ``[kept, of]``."""
    ids = {example.id for example in kept}
    strata = Counter(one.stratum for one in made)
    held = Counter(one.stratum for one in made if one.example.id in ids)
    return {
        "of_the_source": len(own),
        "could_be_made": len(made),
        "kept": len(kept),
        "strata": {name: [held[name], of] for name, of in sorted(strata.items())},
        "answers": _tally(example.answer for example in kept) if task != BASIC else {},
    }


def _tally(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
