import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.language.edits import edits
from medpref.language.findings import polarities, statements

L, R = {"side": "left"}, {"side": "right"}
R_UPPER, L_LOWER, L_UPPER = R | {"zone": "upper"}, L | {"zone": "lower"}, L | {"zone": "upper"}
EFFUSION, MASS, NODULE = "pleural effusion", "mass", "nodule"


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("Pneumothorax on the left without effusion on the right.", L, R),
        ("Right upper zone consolidation in addition to a left effusion.", R_UPPER, L),
        ("Consolidation in the left upper and lower zones and effusion.", L_UPPER, {}),
        ("There is consolidation, in the left lung, and effusion.", L, {}),
        ("Effusion (left) and pneumothorax (right).", L, R),
        ("Nodule right upper zone, effusion left lower zone.", R_UPPER, L_LOWER),
        ("The left effusion is larger than the right pneumothorax.", {"side": "left", "size": "large"}, R),
        ("Atelectasis on the left adjacent to a right effusion.", L, R),
        ("Consolidation of the left lower lobe obscures the right effusion.", L_LOWER, R),
        ("Effusion on the left and right nodule.", L, R),
        ("Effusion on the left, small nodule on the right.", L, {"size": "small", "side": "right"}),
        ("In the left lung there is consolidation and in the right lung an effusion.", L, R),
        ("Consolidation in the left and right lung with nodule.", {"side": "both"}, {}),
        ("Besides the nodule there is small effusion.", {}, {"size": "small"}),
    ],
)  # fmt: skip
def test_a_place_belongs_to_its_own_finding(text: str, first: dict[str, str], second: dict[str, str]) -> None:
    one, other = statements(text)
    assert (one.attributes, other.attributes) == (first, second)


def test_left_and_right_are_both_sides() -> None:
    for text in (
        "Left and right effusions.",
        "Effusion on the left and right.",
        "Effusion of the right and left lung.",
    ):
        (one,) = statements(text)
        assert one.attributes["side"] == "both", text
    assert statements("Effusion on the left or right.")[0].attributes["side"] == "left"


def test_moving_a_finding_leaves_the_other_where_it_is() -> None:
    text = "Pneumothorax on the left without effusion on the right."
    moved = [statements(edit.text) for edit in edits(text, ("side",))]
    assert [[one.attributes["side"] for one in said] for said in moved if said[0].attributes["side"] == "right"] == [
        ["right", "right"]
    ]


SIDES = st.sampled_from(["left", "right"])
ZONES = st.sampled_from(["", "upper", "lower"])
# before the finding, after it, in brackets; an article where the words need one
FRAMES = (
    "{side} {zone} {finding}", "{finding} in the {side} {zone} zone", "{finding} of the {side} {zone} lung",
    "{finding} ({side} {zone})", "{finding}, {side} {zone} zone",
)  # fmt: skip
JOINTS = (" and ", ", ", "; ", " with ", " but ", " as well as ", ", and a ", " adjacent to ")


def phrase(frame: str, finding: str, side: str, zone: str) -> str:
    return " ".join(frame.format(finding=finding, side=side, zone=zone).split()).replace(" )", ")")


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(FRAMES), st.sampled_from(FRAMES), st.sampled_from(JOINTS), SIDES, SIDES, ZONES, ZONES,
    st.permutations([EFFUSION, MASS, NODULE, "consolidation"]),
)  # fmt: skip
def test_two_findings_in_one_sentence_keep_their_places(
    first: str, second: str, joint: str, side: str, other: str, zone: str, elsewhere: str, named: list[str]
) -> None:
    text = phrase(first, named[0], side, zone) + joint + phrase(second, named[1], other, elsewhere) + "."
    said = {one.finding: dict(one.attributes) for one in statements(text)}
    wanted = [{"side": s, **({"zone": z} if z else {})} for s, z in ((side, zone), (other, elsewhere))]
    assert said == dict(zip(named[:2], wanted, strict=True)), text


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES)
def test_a_denied_finding_keeps_its_own_place(side: str, other: str) -> None:
    text = f"No pneumothorax on the {side}, but a mass on the {other}."
    assert [one.attributes["side"] for one in statements(text)] == [side, other]
    assert polarities(text) == {"pneumothorax": "absent", "mass": "present"}
