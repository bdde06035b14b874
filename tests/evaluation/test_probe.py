import math

import numpy as np
import pytest

from medpref.evaluation.probe import decide, probe_all, probe_pair, probe_rows, question_blind, styled
from medpref.evaluation.views import BACKGROUND, BLIND, COUNTERFACTUAL, LESION, WRONG, ProbeImages, wrong_images
from medpref.imaging.decode import read_array
from medpref.imaging.regions import region_array
from medpref.schema import CHOSEN, CLEAN, Branch
from tests.evaluation.studies import BOX, SIZE, Blind, Seer, studies


@pytest.fixture
def held(tmp_path):
    examples = studies(tmp_path, 6)
    images = ProbeImages(tmp_path / "probe", root=tmp_path, seed=0)
    wrong = wrong_images(examples, seed=0)
    views = {example.id: images.views(example, wrong.get(example.id)) for example in examples}
    return {example.id: example for example in examples}, views, tmp_path


def pixels(root, views, name):
    return read_array(views[name][0].locate(root))


def test_views_show_what_they_say(held):
    _, views, root = held
    shown = views["e2-presence"]
    assert set(shown) == {CLEAN, BLIND, WRONG, COUNTERFACTUAL, LESION, BACKGROUND}
    clean, lesion, background = (pixels(root, shown, name) for name in (CLEAN, LESION, BACKGROUND))
    left, top, right, bottom = BOX
    inside = np.zeros((SIZE, SIZE), bool)
    inside[top:bottom, left:right] = True
    assert clean[inside].min() == 250
    assert lesion[inside].max() < 120, "the lesion is gone"
    assert (background[inside] == 250).all(), "the background view keeps the lesion"
    changed = [(view != clean).sum() for view in (lesion, background)]
    assert changed[1] == pytest.approx(changed[0], rel=0.1), "equal areas are hidden"
    assert len(np.unique(pixels(root, shown, BLIND))) == 1
    assert pixels(root, shown, BLIND).shape == clean.shape


def test_a_view_that_cannot_be_made_is_absent(held):
    _, views, _ = held
    assert set(views["e1-presence"]) == {CLEAN, BLIND, WRONG}


def test_a_lesion_that_fills_the_image_has_no_background(held):
    examples, _, root = held
    region = examples["e2-side"].regions[0].model_copy(update={"box": (0, 0, SIZE, SIZE - 4)})
    whole = examples["e2-side"].model_copy(update={"regions": (region,)})
    assert region_array(whole.regions, SIZE, SIZE).mean() > 0.5
    assert LESION not in ProbeImages(root / "other", root=root, seed=0).views(whole, None)


def test_views_are_shared_between_questions_of_a_study_and_do_not_depend_on_order(held):
    examples, views, root = held
    assert views["e2-side"][LESION] == views["e2-presence"][LESION]
    assert views["e1-presence"][BLIND][0].sha256 == views["e2-presence"][BLIND][0].sha256
    again = ProbeImages(root / "again", root=root, seed=0)
    for name in reversed(list(examples)):
        fresh = again.views(examples[name], None)
        assert all(fresh[view][0].sha256 == views[name][view][0].sha256 for view in fresh)
    other = ProbeImages(root / "seed", root=root, seed=1).views(examples["e2-side"], None)
    assert other[BACKGROUND][0].sha256 != views["e2-side"][BACKGROUND][0].sha256


def test_the_wrong_image_is_of_another_patient_and_the_same_kind(held):
    examples, views, _ = held
    of = {example.images[0].sha256: example for example in examples.values()}
    for name, example in examples.items():
        wrong = views[name][WRONG]
        assert of[wrong[0].sha256].patient != example.patient
    alone = [example for example in examples.values() if example.patient == "p2"]
    assert wrong_images(alone, seed=0) == {}


def test_the_wrong_image_has_as_many_images(held):
    examples, _, _ = held
    pair = examples["e1-presence"].model_copy(update={"images": examples["e1-presence"].images * 2})
    assert wrong_images([pair, examples["e2-presence"]], seed=0) == {}


def test_a_pair_asks_every_choice_in_the_style_of_the_answer(held):
    examples, views, _ = held
    capital = examples["e2-presence"].model_copy(update={"answer": "Yes."})
    pair = probe_pair(capital, views["e2-presence"])
    assert [reply.text for reply in pair.replies.values()] == ["Yes.", "No."]
    assert set(pair.views) == set(views["e2-presence"])
    side = probe_pair(examples["e2-side"], views["e2-side"])
    assert set(side.replies) == {CHOSEN}
    assert set(side.views) == {CLEAN, LESION, BACKGROUND, BLIND}
    assert styled("pa", "AP") == "PA"
    assert question_blind(side) is None
    assert question_blind(pair).views == {CLEAN: capital.images}


def test_decision_is_the_most_probable_choice_with_its_share(held):
    examples, views, _ = held
    pair = probe_pair(examples["e2-presence"], views["e2-presence"])
    scores = {Branch(CLEAN, CHOSEN): math.log(0.03), Branch(CLEAN, "choice_1"): math.log(0.01)}
    assert decide(pair, CLEAN, scores) == ("yes", pytest.approx(0.75))
    tie = {branch: -1.0 for branch in scores}
    assert decide(pair, CLEAN, tie)[0] == "no", "a tie does not go to the reference"


def test_rows_by_hand(held):
    examples, views, _ = held
    pair = probe_pair(examples["e2-presence"], views["e2-presence"])
    yes = {CLEAN: -0.5, LESION: -3.0, BACKGROUND: -0.75, COUNTERFACTUAL: -4.0, BLIND: -2.0, WRONG: -0.1}
    scores = {Branch(view, CHOSEN): value for view, value in yes.items()} | {
        Branch(view, "choice_1"): -1.0 for view in yes
    }
    found = {row.metric: row.value for row in probe_rows(examples["e2-presence"], pair, scores)}
    assert found == {
        "answer_log_prob": -0.5,
        "grounding_drop": 2.25,
        "blind_drop": 1.5,
        "choice_accuracy": 1.0,
        "blind_accuracy": 0.0,
        "visual_reliance": 1.0,
        "wrong_image_accuracy": 1.0,
        "flip_rate_lesion": 1.0,
        "flip_rate_background": 0.0,
        "grounding_flip": 1.0,
        "counterfactual_accuracy": 1.0,
        "counterfactual_flip": 1.0,
    }


def test_an_unknown_counterfactual_answer_is_not_judged(held):
    examples, views, _ = held
    unknown = examples["e2-presence"].model_copy(update={"counterfactual_answer": None})
    pair = probe_pair(unknown, views["e2-presence"])
    scores = {Branch(view, reply): -1.0 for view in pair.views for reply in pair.replies}
    names = {row.metric for row in probe_rows(unknown, pair, scores)}
    assert not {"counterfactual_accuracy", "counterfactual_flip"} & names


def mean(rows, metric):
    values = [row.value for row in rows if row.metric == metric]
    return sum(values) / len(values)


def test_a_seer_is_grounded_and_a_blind_model_is_not(held):
    examples, views, root = held
    every = list(examples.values())
    pairs = [probe_pair(example, views[example.id]) for example in every]
    seeing = [row for rows in probe_all(every, pairs, Seer(root).read) for row in rows]
    blind = [row for rows in probe_all(every, pairs, Blind(root).read) for row in rows]
    assert mean(seeing, "grounding_drop") == pytest.approx(2.9)
    assert mean(seeing, "grounding_flip") == 1.0
    assert mean(seeing, "counterfactual_accuracy") == 1.0
    assert mean(seeing, "visual_reliance") == 0.5
    for metric in ("grounding_drop", "grounding_flip", "visual_reliance", "counterfactual_flip", "blind_drop"):
        assert mean(blind, metric) == 0.0
    assert mean(blind, "question_blind_accuracy") == mean(blind, "choice_accuracy") == 0.5
