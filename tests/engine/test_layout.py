"""Rows, columns, positions and image features of a forest."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.engine.edges import find_edges
from medpref.engine.encode import EncodedBranch
from medpref.engine.layout import make_plan
from medpref.engine.planner import choose_capacity

IMAGE = 9
LINES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.lists(st.integers(0, 2), max_size=3),
        st.lists(st.integers(0, 2), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=8,
)


def make_lines(drawn):
    """Question first, then three image tokens: images end up on several branches of one tree."""
    lines = []
    for image, question, reply in drawn:
        prompt = (1, *question, IMAGE, IMAGE, IMAGE, 2)
        lines.append(EncodedBranch("clean", "chosen", (image,), prompt, tuple(reply), (True,) * len(reply)))
    return lines


def in_rows(forest):
    return "dense", choose_capacity(np.diff(forest.starts), width=4)


@settings(max_examples=150, deadline=None)
@given(LINES, st.booleans())
def test_slots_mask_positions_and_features(drawn, share):
    lines = make_lines(drawn)
    plan = make_plan(lines, image_token=IMAGE, share=share, arrange=in_rows)
    layout, forest = plan.layout, plan.forest
    assert len(set(layout.slot.tolist())) == forest.nodes
    row, column = np.divmod(layout.slot, layout.capacity)
    inside = layout.visible()[row[:, None], column[:, None], column[None, :]] & (row[:, None] == row[None, :])
    assert (inside == forest.visible()).all()
    for line, path in zip(lines, forest.paths, strict=True):
        slots = layout.slot[path]
        assert tuple(layout.tokens.flatten()[slots]) == line.read
        assert layout.positions[0].flatten()[slots].tolist() == list(range(len(path)))
        features = layout.feature.flatten()[slots]
        start = 3 * plan.studies.index(line.images)
        assert features[features >= 0].tolist() == [start, start + 1, start + 2]
    alone = layout.visible().sum(-1).flatten()
    unused = np.setdiff1d(np.arange(layout.rows * layout.capacity), layout.slot)
    assert alone.min() >= 1
    assert (layout.feature.flatten()[unused] == -1).all()


@settings(max_examples=150, deadline=None)
@given(LINES)
def test_a_shared_edge_is_scored_once(drawn):
    lines = make_lines(drawn)
    plan = make_plan(lines, image_token=IMAGE, share=True, arrange=in_rows)
    edges = find_edges(plan)
    texts = [(line.images, line.prompt + line.reply_ids, len(line.prompt)) for line in lines]
    distinct = {(image, text[: end + 1]) for image, text, start in texts for end in range(start, len(text))}
    assert len(edges.row) == len(distinct)
    parents = {(image, text[:end]) for image, text, start in texts for end in range(start, len(text))}
    assert len(edges.slot) == len(parents)
    for line, of_line, rows in zip(lines, edges.of_line, edges.rows_of_line, strict=True):
        assert tuple(edges.token[of_line]) == line.reply_ids
        assert (edges.row[of_line] == rows).all()


def test_capacity_follows_the_work():
    """Wide models save padding by one long row; narrow ones save attention by one tree a row."""
    uneven = np.array([1000, 600, 590, 580])
    assert choose_capacity(uneven, width=4) == 1000
    assert choose_capacity(uneven, width=4096) == 2770
