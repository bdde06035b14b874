"""Packed entries are the same entries, and what repeats is written once."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.report.pack import columns_of, packed, script_json
from tests.report.packed import unpacked

PLAIN = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4) | st.floats(-1, 1)
VALUE = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.dictionaries(st.sampled_from(["zebra", "id", "views", "maps"]), VALUE), max_size=6))
def test_a_reader_of_the_written_json_gets_the_entries(entries: list[dict[str, object]]) -> None:
    held = json.loads(script_json(packed({"entries": entries, "total": 3})))
    assert held["total"] == 3
    assert unpacked(held["entries"]) == json.loads(json.dumps(entries))


def test_by_hand() -> None:
    entries = [
        {"kind": "side", "facts": [["made by", "rules"], ["answer", "Left"]]},
        {"kind": "side", "facts": [["made by", "rules"]], "maps": [1]},
    ]
    assert columns_of(entries) == {
        "columns": {
            "facts": {"values": [[0, 1], [0]], "parts": [["made by", "rules"], ["answer", "Left"]]},
            "kind": {"values": ["side"]},
            "maps": {"values": [[0]], "parts": [1]},
        },
        "rows": [[0, 0, -1], [1, 0, 0]],
    }


def test_true_is_not_one() -> None:
    entries = [{"a": value} for value in (True, 1, 1.0, "1")]
    found = unpacked(columns_of(entries))
    assert [type(entry["a"]) for entry in found] == [bool, int, float, str]


def test_twenty_models_that_say_the_same_cost_little_more_than_one() -> None:
    said = ["Two", "wrong", "'two' for 'one'", "Closed accuracy"]
    sizes = [len(script_json(columns_of([{"replies": [said] * models} for _ in range(50)]))) for models in (1, 20)]
    assert sizes[1] < sizes[0] + 60
