"""Unified instruction data: what is made follows from facts and regions, and is checked against the drawn films."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref import store
from medpref.curation import instruct
from medpref.curation.candidate import Candidate, NotMade
from medpref.curation.instruct import build_instructions, drawn
from medpref.curation.instruct_compare import compare_questions
from medpref.curation.instruct_region import region_questions
from medpref.curation.seen import known_facts, read, seen_of
from medpref.errors import DataError
from medpref.imaging.decode import read_array
from medpref.imaging.mark import framed, paint_box
from medpref.judging.agreement import Agreement
from medpref.recipe import Instructions
from medpref.schema import CHOSEN, Example, Fact, ImageRef, PreferencePair, Region
from medpref.sources import phantom_words as words
from medpref.sources.phantom import Phantom, draw, draw_cohort
from medpref.sources.phantom_cohort import facts as cohort_facts
from medpref.sources.phantom_questions import KINDS

SOURCE = Phantom(studies=24, validation=0, test=4, size_px=64, questions=KINDS)
EFFUSION = Fact(finding="pleural effusion", side="left", severity="small")


class Made(NamedTuple):
    root: Path
    source: list[Example]
    counts: dict[str, int]
    examples: list[Example]
    pairs: list[PreferencePair]
    card: dict[str, Any]

    @property
    def train(self) -> list[Example]:
        return [example for example in self.source if example.split == "train"]


def made_in(root: Path, source: list[Example], **fields: Any) -> Made:
    train = [example for example in source if example.split == "train"]
    held = [example for example in source if example.split != "train"]
    out = root / "instructions"
    where: dict[str, Any] = {"root": root, "prefix": "instructions", "seed": 0, "held_out": held}
    counts = build_instructions(Instructions(**fields), train, out, **where)
    examples = store.read_lines(out / "examples.jsonl", Example)
    pairs = store.read_lines(out / "pairs.jsonl", PreferencePair)
    return Made(root, source, counts, examples, pairs, store.read_json(out / "card.json"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("instructions")
    source = list(SOURCE.load(root / "examples", seed=0, prefix="examples"))
    return made_in(root, source, ordered=True)


def film(example: Example) -> int:
    """The number of the study that a made example is about (of two, the second)."""
    return int(example.id.split("-")[1])


def test_every_task_is_there_and_counted(made: Made) -> None:
    kinds = Counter(pair.provenance["task"] for pair in made.pairs)
    assert {task: made.counts[task] for task in kinds} == dict(kinds)
    assert set(kinds) == {"basic", "region", "compare"}
    assert made.counts["basic"] == sum(example.kind not in ("region", "compare") for example in made.train)
    assert max(kinds["region"], kinds["compare"]) <= kinds["basic"]
    assert made.counts["made"] == len(made.examples) > 100
    assert made.counts["rationales"] == sum(pair.replies[CHOSEN].author == "rationale" for pair in made.pairs)
    ids = [example.id for example in (*made.source, *made.examples)]
    assert len(set(ids)) == len(ids)
    assert {example.split for example in made.examples} == {"train"}
    assert made.card["leaks"] == {"held_out": len(made.source) - len(made.train), "by_patient": 0, "by_image": 0}
    dropped = [row for _, row in store.iter_lines(made.root / "instructions/dropped.jsonl")]
    assert sum(made.card["not_made"].values()) == len(dropped) > 0
    assert {row["reason"] for row in dropped} == {key.split(": ", 1)[1] for key in made.card["not_made"]}


def test_a_box_is_painted_into_a_copy_and_kept(made: Made) -> None:
    films = {
        example.patient + str(film(example)): example.images[0] for example in made.train if example.kind == "report"
    }
    boxed = [example for example in made.examples if example.kind == "region"]
    for example in boxed:
        (ref,), (region,) = example.images, example.regions
        plain = read_array(films[example.patient + str(film(example))].locate(made.root))
        painted = read_array(ref.locate(made.root))
        assert ref.path.startswith("instructions/blobs/")
        assert store.file_digest(ref.locate(made.root)) == ref.sha256
        assert np.array_equal(painted, paint_box(plain, framed(region.box, width=64, height=64)))
        left, top, right, bottom = region.box
        assert (painted != plain).any()
        assert region.image == 0
        assert "boxed area" in example.question
        if min(left, top, 64 - right, 64 - bottom) > 2:
            assert np.array_equal(painted[top:bottom, left:right], plain[top:bottom, left:right])
    assert len(boxed) > 50


def test_what_is_in_a_box_is_what_was_drawn_there(made: Made) -> None:
    """Against the masks of the films, drawn again."""
    indices = range(SOURCE.studies)
    cohort = draw_cohort(0, "train", indices, shortcut=SOURCE.shortcut, studies_per_patient=2)
    masks = draw(cohort, 64).masks
    answers: Counter[str] = Counter()
    for example in made.examples:
        if example.kind == "region":
            left, top, right, bottom = example.regions[0].box
            shown = {name for name, held in masks.items() if (held[film(example), top:bottom, left:right] > 0).any()}
            finding = example.tags["finding"]
            assert (finding in shown) == (example.answer != "No") == (example.tags["polarity"] == "present")
            assert example.answer.lower() in ("yes", "no", finding)
            answers[f"{finding}/{example.answer}"] += 1
    asked = {key.rpartition("/")[0] for key in answers if key.endswith(("/Yes", "/No"))}
    assert len(asked) >= 4
    assert all(answers[f"{finding}/Yes"] == answers[f"{finding}/No"] > 0 for finding in asked)


def test_a_comparison_is_answered_by_the_facts_of_both_films(made: Made) -> None:
    """Against the cohort's own facts and the phantom's own rule of change."""
    indices = range(SOURCE.studies)
    cohort = draw_cohort(0, "train", indices, shortcut=SOURCE.shortcut, studies_per_patient=2)
    known = [cohort_facts(cohort, row) for row in indices]
    films = {example.images[0].sha256: film(example) for example in made.train if example.kind == "report"}
    seen: Counter[str] = Counter()
    for example in made.examples:
        if example.kind != "compare":
            continue
        first, second = (films[ref.sha256] for ref in example.images)
        finding, relation = example.tags["finding"], example.tags["relation"]
        assert second == film(example)
        assert (first // 2 == second // 2) == (relation == "same patient")
        for index, row in enumerate((first, second)):
            stated = [fact for fact in example.facts if fact.image == index and fact.finding == finding]
            assert [fact.present for fact in stated] == [finding in known[row]]
            assert any(region.image == index for region in example.regions) == (finding in known[row])
        if finding in words.GRADES:
            change = words.change(known[first], known[second], finding)
            spelled = {"Better": "Less", "Unchanged": "The same", "Worse": "More"}
            assert example.answer == (change if relation == "same patient" else spelled[change])
        elif finding in known[first] and finding in known[second]:
            counts = known[first][finding].count, known[second][finding].count
            assert finding == "nodule"
            assert example.answer in (("More", "Worse") if counts[1] > counts[0] else ("Less", "Better") if counts[1] < counts[0] else ("The same", "Unchanged"))  # fmt: skip  # noqa: E501
        assert example.answer.lower() in example.choices
        seen[relation + "/" + example.answer] += 1
    assert len(seen) == 6


def test_targets_lead_with_the_answer_and_say_only_what_bears_on_it(made: Made) -> None:
    by_id = {example.id: example for example in (*made.source, *made.examples)}
    for pair in made.pairs:
        example, text = by_id[pair.example], pair.replies[CHOSEN].text
        assert text.startswith(example.answer)
        assert pair.question == example.question
        assert pair.views["clean"] == example.images
        if pair.provenance["target"] == "rationale":
            assert Agreement().judge(example, text).value == 1.0
            assert len(text) > len(example.answer) + 10
            assert ("first image" in text and "second image" in text) == (example.kind == "compare")
            assert ("boxed area" in text) == (example.kind == "region")
        else:
            assert text == example.answer
            assert example.kind in ("view", "report")
    told = sum(made.card["why_answer"].values())
    assert told == sum(pair.provenance["target"] == "answer" for pair in made.pairs) > 0


def test_the_same_bytes_again_after_a_stop_in_the_middle_and_another_seed_gives_others(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = list(SOURCE.load(tmp_path / "examples", seed=0, prefix="examples"))
    painted = []
    whole = instruct.paint_box

    def stops(image: Any, box: Any) -> Any:
        painted.append(box)
        if len(painted) == 20:
            raise RuntimeError("stopped")
        return whole(image, box)

    monkeypatch.setattr(instruct, "paint_box", stops)
    with pytest.raises(RuntimeError, match="stopped"):
        made_in(tmp_path, source, ordered=True)
    again = made_in(tmp_path, source, ordered=True)
    areas = {(ref.sha256, *example.regions[0].box) for example in again.examples for ref in example.images if example.kind == "region"}  # fmt: skip  # noqa: E501
    assert len(painted) == len(areas) + 1
    names = ("examples.jsonl", "pairs.jsonl", "dropped.jsonl", "card.json")
    for name in names:
        assert (tmp_path / "instructions" / name).read_bytes() == (made.root / "instructions" / name).read_bytes()
    assert not list((tmp_path / "instructions").glob("*journal*"))
    blobs = [sorted(path.name for path in (root / "instructions/blobs").iterdir()) for root in (tmp_path, made.root)]
    assert blobs[0] == blobs[1]
    other = tmp_path / "other"
    counts = [
        build_instructions(Instructions(size=30), made.train, other / str(seed), root=made.root, prefix="x", seed=seed)
        for seed in (0, 1)
    ]
    assert counts[0]["questions"] == counts[1]["questions"]
    texts = [(other / str(seed) / "pairs.jsonl").read_text() for seed in (0, 1)]
    assert texts[0] != texts[1]


def test_settings_choose_tasks_targets_and_sizes(made: Made, tmp_path: Path) -> None:
    def counts(**fields: Any) -> dict[str, int]:
        out = tmp_path / store.digest(fields)
        return build_instructions(Instructions(**fields), made.train, out, root=made.root, prefix="x", seed=0)

    plain = counts(tasks=("basic",), rationale=None)
    assert plain == {"questions": made.counts["basic"], "basic": made.counts["basic"], "made": 0, "rationales": 0, "two_images": 0}  # fmt: skip  # noqa: E501
    two = counts(tasks=("compare",))
    assert two["questions"] == two["compare"] == two["two_images"]
    assert two["compare"] >= made.counts["compare"]
    small = counts(size=60)
    assert small["basic"] == small["region"] == small["compare"] == 20
    last = counts(tasks=("compare",), rationale="last")
    folder = tmp_path / store.digest({"tasks": ("compare",), "rationale": "last"})
    texts = [pair.replies[CHOSEN].text for pair in store.read_lines(folder / "pairs.jsonl", PreferencePair)]
    assert last["rationales"] == sum(" The answer is " in text for text in texts) > 0


def test_nothing_is_made_of_a_patient_or_an_image_of_another_split(made: Made, tmp_path: Path) -> None:
    leaky = made.train[0].patient
    held = [example.model_copy(update={"split": "test"}) for example in made.train if example.patient == leaky]
    out, where = tmp_path / "x", {"root": made.root, "prefix": "x", "seed": 0}
    build_instructions(Instructions(), made.train, out, held_out=held, **where)
    examples = store.read_lines(out / "examples.jsonl", Example)
    images = {ref.sha256 for example in held for ref in example.images}
    assert examples
    assert not [e for e in examples if e.patient == leaky or e.tags.get("other_patient") == leaky]
    assert not [e for e in examples if images & {ref.sha256 for ref in e.images}]
    told = store.read_json(out / "card.json")["not_made"]
    assert told["region: its patient or image is in another split"] == 2
    assert told["compare: its patient or image is in another split"] == 2


def asked(question: str, answer: str, *, patient: str = "p", image: str = "a", **fields: Any) -> Example:
    ref = ImageRef(path=f"{image}.png", sha256=image * 64)
    name = f"{patient}-{image}-{store.digest([question, answer])[:6]}"
    given: dict[str, Any] = {"kind": "presence", "split": "train", **fields}
    return Example(id=name, patient=patient, images=(ref,), question=question, answer=answer, **given)


@pytest.mark.parametrize(
    ("question", "answer", "fields", "said"),
    [
        ("Is there a pneumothorax?", "No", {}, [("pneumothorax", False, None, None)]),
        ("Is there a pneumothorax?", "Yes", {}, [("pneumothorax", True, None, None)]),
        ("Is there a left pneumothorax?", "No", {}, []),
        ("Is there a large pneumothorax?", "No", {}, []),
        ("Is there a nodule or a pneumothorax?", "No", {}, []),
        ("Is there a pneumothorax?", "No", {"kind": "other"}, []),
        ("Is the film free of pneumothorax?", "No", {}, []),
        (
            "Describe.", "Small left pleural effusion. No pneumothorax. No large nodule.", {"answer_type": "report"},
            [("pleural effusion", True, "left", "small"), ("pneumothorax", False, None, None)],
        ),
        ("Describe.", "Possible pneumothorax.", {"answer_type": "report"}, []),
    ],
)  # fmt: skip
def test_facts_are_read_from_reports_and_plain_questions(question, answer, fields, said) -> None:
    found = [(f.finding, f.present, f.side, f.severity) for f in read(asked(question, answer, **fields))]
    assert found == said


def test_what_is_known_of_an_image() -> None:
    group = [
        asked("Is there a pneumothorax?", "No", facts=(EFFUSION,)),
        asked("Describe.", "Moderate pleural effusion. Pacemaker. No nodule.", answer_type="report"),
        asked("Is there atelectasis?", "Yes"),
        asked("Is there atelectasis at all?", "No"),
    ]
    facts, torn = known_facts(group)
    assert facts == {
        "pleural effusion": (EFFUSION,),
        "pneumothorax": (Fact(finding="pneumothorax", present=False),),
        "nodule": (Fact(finding="nodule", present=False),),
    }
    assert torn == {"atelectasis"}
    without = known_facts(group[1:3])[0]
    assert set(without) == {"pleural effusion", "pacemaker", "nodule", "atelectasis"}
    both = known_facts([asked("x", "y", facts=(EFFUSION, Fact(finding="pleural effusion", side="left")))])[0]
    assert both == {"pleural effusion": (EFFUSION,)}
    marked = asked("Is there a nodule?", "Yes", kind="region")
    two = asked("x", "y").model_copy(update={"images": (asked("x", "y").images[0],) * 2})
    assert seen_of([marked, two]) == []


def region(box: tuple[int, int, int, int], label: str = "pleural effusion") -> Region:
    return Region(box=box, label=label)


def made_of(example: Example, *others: Example) -> tuple[list[Example], list[str]]:
    (seen,) = seen_of([example, *others])
    found = list(region_questions(seen, width=100, height=100))
    return [one.example for one in found if isinstance(one, Candidate)], [
        one.reason for one in found if isinstance(one, NotMade)
    ]


def test_a_box_is_asked_about_where_nothing_else_can_lie_in_it() -> None:
    lung = region((10, 40, 30, 60))
    good = {"regions": (lung,), "facts": (EFFUSION, Fact(finding="nodule", present=False))}
    examples, reasons = made_of(asked("q", "a", **good))
    assert not reasons
    told = [(example.question, example.answer, example.regions[0].box) for example in examples]
    assert told == [
        ("What is in the boxed area?", "Pleural effusion", lung.box),
        ("Is there a pleural effusion in the boxed area?", "Yes", lung.box),
        ("Is there a pleural effusion in the boxed area?", "No", (70, 40, 90, 60)),
        ("Is there a nodule in the boxed area?", "No", lung.box),
    ]
    both_sides = EFFUSION.model_copy(update={"side": "both"})
    examples, _ = made_of(asked("q", "a", regions=(lung,), facts=(both_sides,)))
    assert [example.answer for example in examples] == ["Pleural effusion", "Yes"]
    for fields, reason in (
        ({"regions": ()}, "no region is given"),
        ({"facts": (EFFUSION, Fact(finding="pneumothorax"))}, "present, but without a region: pneumothorax"),
        ({"regions": (lung, region((12, 42, 28, 58), "nodule"))}, "another region lies in the box"),
        ({"regions": (region((10, 40, 30, 60), ""),), "facts": ()}, "the region has no label"),
        ({"regions": (region((0, 0, 90, 90)),)}, "the region covers more than half of the image"),
        ({"regions": (region((0, 0, 3, 90)),)}, "the region is smaller than 4 pixels"),
        ({"regions": (region((50, 50, 120, 90)),)}, "the region lies outside the image"),
    ):
        _, reasons = made_of(asked("q", "a", **{**good, **fields}))
        assert reason in reasons, (fields, reasons)


def test_an_organ_is_named_and_does_not_hide_what_lies_in_it() -> None:
    organ, lesion = region((5, 5, 60, 60), "Liver"), region((20, 20, 50, 50), "nodule")
    examples, reasons = made_of(asked("q", "a", regions=(organ, lesion)))
    assert [(example.question, example.answer) for example in examples] == [
        ("What is in the boxed area?", "Nodule"),
        ("Is there a nodule in the boxed area?", "Yes"),
    ]
    assert reasons == ["another region lies in the box"]
    alone, _ = made_of(asked("q", "a", regions=(organ,)))
    assert [(example.question, example.answer) for example in alone] == [("What is in the boxed area?", "Liver")]


def compared(*examples: Example, ordered: bool = False) -> tuple[list[Example], list[str]]:
    found = list(compare_questions(seen_of(examples), seed=0, ordered=ordered))
    made = [one.example for one in found if isinstance(one, Candidate)]
    return made, [one.reason for one in found if isinstance(one, NotMade)]


def test_images_of_one_patient_and_of_two_are_compared() -> None:
    large = EFFUSION.model_copy(update={"severity": "large"})
    first = asked("q", "a", image="a", facts=(EFFUSION,), regions=(region((1, 1, 9, 9)),))
    second = asked("q", "a", image="b", facts=(large,))
    made, reasons = compared(first, second, ordered=True)
    assert [(e.question, e.answer, e.choices) for e in made] == [
        (
            "From the first image to the second, is the pleural effusion better, worse or unchanged?",
            "Worse",
            ("better", "unchanged", "worse"),
        )
    ]
    assert [region.image for region in made[0].regions] == [0]
    assert made[0].facts == (EFFUSION.model_copy(update={"image": 0}), large.model_copy(update={"image": 1}))
    assert reasons == ["no other patient's image with facts to compare it with"] * 2
    made, _ = compared(first, second)
    assert made[0].question == "Does the second image show more, less or the same pleural effusion as the first?"
    assert made[0].answer == "More"
    other = second.model_copy(update={"patient": "q", "id": "q"})
    made, _ = compared(first, other, ordered=True)
    assert [(e.answer, e.patient, e.tags["other_patient"]) for e in made] == [("Less", "p", "q"), ("More", "q", "p")]


def test_what_cannot_be_compared_says_why() -> None:
    first = asked("q", "a", image="a", facts=(EFFUSION,), tags={"modality": "CT"})
    second = asked("q", "a", image="b", facts=(Fact(finding="pleural effusion"),), tags={"modality": "CT"})
    assert "the degree is not known on both images: pleural effusion" in compared(first, second)[1]
    several = second.model_copy(update={"facts": (EFFUSION, EFFUSION.model_copy(update={"side": "right"}))})
    assert "several facts of one image speak of pleural effusion" in compared(first, several)[1]
    unlike = second.model_copy(update={"tags": {"modality": "MRI"}, "facts": (EFFUSION,)})
    assert compared(first, unlike)[0] == []
    device = Fact(finding="support device", sign="pacemaker")
    assert compared(*(asked("q", "a", image=name, facts=(device,)) for name in "ab"))[0] == []
    absent = [Fact(finding=name, present=False) for name in ("nodule", "pneumothorax", "consolidation")]
    made, _ = compared(*(asked("q", "a", image=name, facts=tuple(absent)) for name in "ab"))
    assert [example.answer for example in made] == ["The same"]


def test_a_source_without_anything_to_ask_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="instructions region, compare: no question"):
        build_instructions(
            Instructions(tasks=("region", "compare")), [asked("q", "a")], tmp_path, root=tmp_path, prefix="x", seed=0
        )


@given(
    groups=st.dictionaries(
        st.sampled_from(["a/yes", "a/no", "b/yes", "b/no", "c", "d"]), st.integers(0, 12), min_size=1
    ),
    size=st.integers(0, 40),
    mix=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 5),
)
@settings(max_examples=80, deadline=None)
def test_quotas_are_kept_and_yes_and_no_are_as_many(groups: dict[str, int], size: int, mix: float, seed: int) -> None:
    plain = asked("q", "a")
    pool = [
        Candidate(plain.model_copy(update={"id": f"{name}-{number}"}), name)
        for name, count in groups.items()
        for number in range(count)
    ]
    taken = drawn(pool, size, mix=mix, seed=seed)
    counts = Counter(one.stratum for one in taken)
    assert len(taken) <= size
    assert all(counts[f"{base}/yes"] == counts[f"{base}/no"] for base in "ab")
    able = sum(count for name, count in groups.items() if "/" not in name)
    able += sum(2 * min(groups.get(f"{base}/yes", 0), groups.get(f"{base}/no", 0)) for base in "ab")
    assert len(taken) >= min(size, able) - 2
    assert taken == [one for one in pool if one in taken]
    assert taken == drawn(pool, size, mix=mix, seed=seed)


def test_a_quota_by_hand() -> None:
    plain = asked("q", "a")
    pool = [Candidate(plain.model_copy(update={"id": f"{name}{n}"}), name) for name in ("x", "y") for n in range(9)]
    pool += [Candidate(plain.model_copy(update={"id": "lonely"}), "z/yes")]
    assert Counter(one.stratum for one in drawn(pool, 6, mix=1.0, seed=0)) == {"x": 3, "y": 3}
