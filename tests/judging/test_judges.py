import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.judging.agreement import Agreement
from medpref.judging.confidence import RegionConfidence
from medpref.judging.exact import Exact
from medpref.judging.findings import FindingAgreement, compare
from medpref.judging.overlap import TokenOverlap, overlap
from medpref.judging.relevance import Relevance
from medpref.language.edits import edits
from medpref.registry import JUDGES
from medpref.schema import Region

from .cases import closed, example, report

REPORT = "The heart is mildly enlarged. There is a small left pleural effusion. No pneumothorax."


def test_every_judge_parses_by_its_kind() -> None:
    known = {"exact", "overlap", "findings", "agreement", "relevance", "panel", "chat_relevance", "region_confidence"}
    assert known <= set(JUDGES.classes())


@pytest.mark.parametrize(
    ("case", "reply", "value"),
    [
        (closed("Yes"), "yes.", 1.0),
        (closed("Yes"), "There is an effusion.", 1.0),
        (closed("No"), "The lungs are normal", 0.0),
        (closed("No"), "Normal", 0.0),
        (closed("left", "left", "right", kind="side"), "on the left side", 1.0),
        (closed("left", "left", "right", kind="side"), "right", 0.0),
        (example("T2-weighted"), "t2 weighted", 1.0),
        (example("effusion"), "pleural effusion", 0.0),
        (report("No effusion."), "No effusion.", None),
    ],
)
def test_exact(case, reply: str, value: float | None) -> None:
    assert Exact().judge(case, reply).value == value


def test_an_undecided_reply_is_judged_and_says_so() -> None:
    verdict = Exact().judge(closed("yes"), "Not sure")
    assert verdict.value == 0.0
    assert verdict.evidence == {"decision": "unparsed"}


def test_token_overlap_by_hand() -> None:
    # reference: small left effusion (3), reply: left effusion left (3); shared: left, effusion
    assert overlap("small left effusion", "left effusion left") == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert TokenOverlap(measure="recall").judge(example("the left lung"), "left").value == 0.5
    assert TokenOverlap(measure="precision").judge(example("the left lung"), "left").value == 1.0
    assert TokenOverlap().judge(example("..."), "left").value is None


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="ab ", max_size=12), st.text(alphabet="ab ", max_size=12))
def test_recall_of_one_is_precision_of_the_other(a: str, b: str) -> None:
    assert overlap(a, b).recall == overlap(b, a).precision
    assert overlap(a, b).f1 == pytest.approx(overlap(b, a).f1)


def test_findings_are_compared_with_polarity_and_place() -> None:
    found = compare(REPORT, "No cardiomegaly. Large left pleural effusion. There is a nodule. No pneumothorax.")
    assert found.matched == ("pleural effusion", "pneumothorax")
    assert found.contradicted == ("cardiomegaly",)
    assert found.unsupported == ("nodule",)
    assert found.missing == ()
    assert found.altered == ("pleural effusion: size small/large",)


def test_the_findings_judge_by_hand() -> None:
    # matched 2 (effusion, pneumothorax), contradicted 1, unsupported 1: 4 / (4 + 1 + 2)
    reply = "No cardiomegaly. Large left pleural effusion. There is a nodule. No pneumothorax."
    assert FindingAgreement().judge(report(REPORT), reply).value == pytest.approx(4 / 7)
    assert FindingAgreement().judge(report(REPORT), REPORT).value == 1.0
    assert FindingAgreement().judge(example("axial"), "coronal").value is None


@pytest.mark.parametrize(
    ("case", "reply", "value"),
    [
        (closed("No"), "There is no effusion.", 1.0),
        (closed("No"), "There is an effusion.", 0.0),
        (closed("No"), "hard to say", 0.0),
        (example("right lung"), "It is in the right lung.", 1.0),
        (example("right lung"), "left lung", 0.0),
        (example("Chest X-ray"), "a chest radiograph", 1.0),
        (example("Cardiomegaly"), "enlarged heart", 1.0),
        (example("Cardiomegaly"), "No cardiomegaly", 0.0),
        (example("Pleural effusion"), "Pleural effusion and nodule", 0.0),
        (example("sarcoidosis"), "sarcoidosis", 1.0),
        (example("holt-oram syndrome"), "This is Holt-Oram syndrome.", 1.0),
        (example("holt-oram syndrome"), "no holt-oram syndrome", 0.0),
        (report(REPORT), "The heart is mildly enlarged, with a small left effusion. No pneumothorax.", 1.0),
        (report(REPORT), "Small left effusion.", 0.0),
        (report(REPORT), REPORT.replace("left", "right"), 0.0),
    ],
)
def test_agreement(case, reply: str, value: float) -> None:
    assert Agreement().judge(case, reply).value == value


@pytest.mark.parametrize("kind", ["presence", "side", "severity", "size"])
def test_no_clinical_edit_of_a_report_agrees_with_it(kind: str) -> None:
    found = edits(REPORT, (kind,))
    assert found
    for edit in found:
        assert Agreement().judge(report(REPORT), edit.text).value == 0.0, edit.text
        assert 0 < (Relevance().judge(report(REPORT), edit.text).value or 0) <= 1


def test_relevance_by_hand() -> None:
    # side: consequence 0.9, first partner; plane: 0.3, second partner of axial is sagittal: 0.3 / sqrt(2)
    assert Relevance().judge(example("left", kind="side"), "right").value == 0.9
    assert Relevance().judge(example("axial", kind="plane"), "sagittal").value == pytest.approx(0.3 / 2**0.5, abs=1e-4)
    assert Relevance().judge(closed("yes"), "no").value == 1.0
    assert Relevance().judge(closed("yes", question="Is this a CT scan?", kind="modality"), "no").value == 0.5
    assert Relevance().judge(closed("yes"), "Yes").value == 0.0


def test_relevance_ranks_a_missed_finding_above_a_wrong_degree() -> None:
    missed = Relevance().judge(report(REPORT), REPORT.replace("There is a small left", "There is no"))
    degree = Relevance().judge(report(REPORT), REPORT.replace("small", "large"))
    assert missed.value is not None
    assert degree.value is not None
    assert missed.value > degree.value


def test_region_confidence_is_the_mean_and_never_a_silent_one() -> None:
    boxes = (
        Region(box=(0, 0, 2, 2), confidence=0.4),
        Region(box=(0, 0, 2, 2), confidence=0.8),
        Region(box=(0, 0, 1, 1)),
    )
    assert RegionConfidence().judge(example("x", regions=boxes), "").value == pytest.approx(0.6)
    assert RegionConfidence().judge(example("x", regions=boxes[2:]), "").value is None
