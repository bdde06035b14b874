"""The gallery says of a pair what the pair says: texts with spans, regions with masks, provenance in words."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.report.gallery import gallery, pair_entry, pieces
from medpref.report.provenance import corrupted_of, drawn_of, facts, in_words, overlap, regions_of
from medpref.report.thumbnail import Thumbnails, open_picture
from medpref.report.values import Run
from medpref.schema import Example, PreferencePair, Region, Reply, Span
from tests.report.run_folder import run_lengths

SHA = "0" * 64
BOX = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9)).map(
    lambda t: (t[0], t[1], t[0] + t[2], t[1] + t[3])
)


def _pair(**provenance: object) -> PreferencePair:
    return PreferencePair(
        id="p",
        example="e",
        patient="x",
        question="Where?",
        views={"clean": ({"path": "a.png", "sha256": SHA},)},
        replies={"chosen": Reply(text="Left.")},
        provenance=provenance,
    )


def _mask(left: int, top: int, right: int, bottom: int) -> dict[str, object]:
    inside = np.zeros((40, 40), dtype=bool)
    inside[top:bottom, left:right] = True
    return run_lengths(inside).model_dump(mode="json")


@settings(deadline=None, max_examples=120)
@given(
    st.text(min_size=1, max_size=40).filter(str.strip),
    st.lists(st.tuples(st.integers(0, 39), st.integers(1, 9)), max_size=4),
)
def test_pieces_join_to_the_text_and_mark_exactly_the_spans(text: str, drawn: list[tuple[int, int]]) -> None:
    spans = tuple(Span(start=start, end=min(start + size, len(text))) for start, size in drawn if start < len(text))
    cut = pieces(Reply(text=text, spans=spans))
    assert "".join(part for part, _ in cut) == text
    inside = [flag for part, flag in cut for _ in part]
    assert inside == [int(any(span.start <= at < span.end for span in spans)) for at in range(len(text))]
    assert all(before[1] != after[1] for before, after in itertools.pairwise(cut))


def test_pieces_beyond_the_basic_plane() -> None:
    """A browser would count the first letter twice."""
    assert pieces(Reply(text="𝔸b c", spans=(Span(start=2, end=4),))) == [["𝔸b", 0], [" c", 1]]


def test_a_region_without_its_mask_gets_the_one_of_the_example() -> None:
    masked = Region(box=(5, 5, 9, 9), label="nodule", mask=run_lengths(np.eye(40, dtype=bool)))
    example = Example(
        id="e",
        patient="x",
        images=({"path": "a.png", "sha256": SHA},),
        question="q",
        answer="a",
        split="train",
        regions=(masked,),
    )
    pair = _pair(regions=[{"box": [5, 5, 9, 9], "label": "nodule"}, {"box": [1, 1, 2, 2]}, {"box": "broken"}, 7])
    found = regions_of(pair, example)
    assert [held.mask is not None for held in found] == [True, False]
    assert [held.mask for held in regions_of(pair, None)] == [None, None]


def test_a_corrupted_area_is_shown_where_it_is_not_a_region() -> None:
    region = Region(box=(0, 0, 10, 10))
    drawn = {"0": {"kind": "blur", "mask": _mask(0, 0, 10, 9)}, "1": {"kind": "blur", "mask": _mask(0, 0, 10, 9)}}
    assert [held.image for held in corrupted_of(_pair(corruption=drawn), [region])] == [1]
    elsewhere = {"0": {"kind": "background", "mask": _mask(20, 20, 30, 31)}}
    (held,) = corrupted_of(_pair(corruption=elsewhere), [region])
    assert held.box == (20, 20, 30, 31)
    assert corrupted_of(_pair(corruption={"0": {"kind": "blur", "mask": _mask(0, 0, 0, 0)}}), []) == []


def test_drawn_parameters_may_come_in_three_forms() -> None:
    one = {"kind": "blur", "sigma_px": 3}
    assert (
        drawn_of(_pair(corruption=one)) == drawn_of(_pair(corruption=[one])) == drawn_of(_pair(corruption={"0": one}))
    )
    assert drawn_of(_pair()) == drawn_of(_pair(corruption="blur")) == {}


def test_facts_are_short_and_leave_out_what_no_reader_reads() -> None:
    pair = _pair(
        corruption={"0": {"kind": "gaussian_noise", "sigma_px": 45, "seed": 3, "mask": _mask(0, 0, 2, 2)}},
        seed=7,
        prompt="a" * 64,
        own_was_right=False,
        mined={"cell": "confident_wrong", "confidence": 0.83333},
        long="x" * 500,
    )
    found = dict(map(tuple, facts(pair)))
    assert found["corruption"] == "gaussian_noise, sigma px 45"
    assert found["mined"] == "cell confident_wrong, confidence 0.8333"
    assert found["own was right"] == "no"
    assert len(found["long"]) == 120
    assert not {"seed", "prompt"} & set(found)


def test_lists_and_nothing_in_words() -> None:
    assert in_words(["a", None, 2]) == "a, 2"
    assert in_words(list(range(9))) == in_words(None) == ""


@settings(deadline=None, max_examples=80)
@given(BOX, BOX)
def test_overlap_is_that_of_the_pixels(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> None:
    boards = np.zeros((2, 20, 20), dtype=bool)
    for board, (left, top, right, bottom) in zip(boards, (a, b), strict=True):
        board[top:bottom, left:right] = True
    assert overlap(a, b) == (boards[0] & boards[1]).sum() / (boards[0] | boards[1]).sum()


def test_entries_are_the_pairs(run: Run) -> None:
    thumbnails = Thumbnails(run.root, budget=10**7, side=64, open_image=open_picture)
    held = gallery(run, thumbnails, budget=10**7)
    pairs = [pair for pair_set in run.pair_sets for pair in pair_set.pairs]
    assert [entry["id"] for entry in held["entries"]] == [pair.id for pair in pairs]
    assert held["total"] == held["pictured"] == len(pairs)
    first = held["entries"][0]
    assert first["views"]["clean"] == [[first["views"]["corrupt"][0][0]]]
    assert len(first["views"]["corrupt"][0]) == 6
    assert list(first["views"]) == ["clean", "corrupt"]
    assert first["hidden"] == []
    assert held["paths"][first["regions"][0][1]].count("L") > 4
    assert len(held["paths"]) == len({pair.example.rpartition("/")[0] for pair in pairs})


def test_a_small_budget_takes_pairs_evenly(run: Run) -> None:
    thumbnails = Thumbnails(run.root, budget=10**6, side=64, open_image=open_picture)
    held = gallery(run, thumbnails, budget=2500)
    assert 2 <= len(held["entries"]) < held["total"]
    assert {entry["set"] for entry in held["entries"]} == {"mmedpo", "fire_mpo"}


def test_a_pair_with_one_reply_and_one_view(run: Run) -> None:
    entry = pair_entry(run, _pair(), name="sft", paths={})
    assert entry["replies"] == {"chosen": ["", [["Left.", 0]]]}
    assert entry["kind"] == "open"
    assert entry["regions"] == entry["hidden"] == entry["facts"] == []
