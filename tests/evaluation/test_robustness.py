import itertools

import numpy as np
import pytest
from scipy import ndimage

from medpref import store
from medpref.errors import DataError
from medpref.evaluation.degrade import DEGRADATIONS, SEVERITIES, degrade
from medpref.evaluation.robustness import asked_of, curves, robustness
from medpref.schema import VerdictRow
from tests.evaluation.studies import Seer, studies


def film(channels=0):
    rng = np.random.default_rng(0)
    shape = (96, 120, channels) if channels else (96, 120)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), (6, 6, 0)[: len(shape)])
    return np.clip(120 + 60 * smooth / smooth.std() + rng.normal(0, 4, size=shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [0, 3])
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_severity_is_graded_deterministic_and_keeps_the_shape(name, channels):
    image = film(channels)
    distances = []
    for severity in (0, *SEVERITIES):
        shown = degrade(image, name, severity, rng=np.random.default_rng(1))
        assert (shown.shape, shown.dtype) == (image.shape, np.uint8)
        assert (shown == degrade(image, name, severity, rng=np.random.default_rng(1))).all()
        distances.append(np.abs(shown.astype(float) - image).mean())
    assert distances[0] == 0
    assert all(later > earlier for earlier, later in itertools.pairwise(distances)), distances


def test_unknown_names_are_errors():
    with pytest.raises(DataError, match="did you mean 'contrast'"):
        degrade(film(), "contrst", 1, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="severity 6"):
        degrade(film(), "blur", 6, rng=np.random.default_rng(0))


def test_curves_of_a_model_that_looks_for_brightness(tmp_path):
    examples = studies(tmp_path, 20)
    seer = Seer(tmp_path)
    out = tmp_path / "robustness"
    found = robustness(
        examples, out, root=tmp_path, read=seer.read, seed=0, names=("contrast", "brightness"), severities=(1, 5)
    )
    curve = {(row["degradation"], row["severity"], row["metric"]): row for row in found}
    assert curve["brightness", 1, "accuracy"]["value"] == 1.0
    assert curve["contrast", 5, "accuracy"]["value"] == 0.5, "the lesion is no longer bright: every yes is lost"
    assert curve["contrast", 5, "loss"]["value"] == 0.5
    assert curve["contrast", 5, "loss"]["low"] > 0
    assert curve["contrast", 5, "accuracy"]["items"] == 20
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == ["robustness.json", "robustness.jsonl"]
    assert not (out / "blobs").exists()


def test_severity_0_is_the_image_itself_and_all_is_the_mean_over_the_ways(tmp_path):
    examples = studies(tmp_path, 12)
    ways = {"names": ("contrast", "brightness", "gamma"), "severities": (1, 5)}
    found = robustness(examples, tmp_path / "r", root=tmp_path, read=Seer(tmp_path).read, seed=0, **ways)
    curve = {(row["degradation"], row["severity"], row["metric"]): row for row in found}
    for severity in (1, 5):
        for metric in ("accuracy", "loss"):
            values = [curve[name, severity, metric]["value"] for name in ("contrast", "brightness", "gamma")]
            assert curve["all", severity, metric]["value"] == pytest.approx(np.mean(values))
    for name in ("contrast", "all"):
        clean = curve[name, 0, "accuracy"]
        assert (clean["value"], clean["items"], clean["clusters"]) == (1.0, 12, 12)
        assert (name, 0, "loss") not in curve
    assert (curve["all", 5, "loss"]["items"], curve["all", 5, "loss"]["clusters"]) == (36, 12)


def test_curves_are_recomputed_from_their_rows_alone(tmp_path):
    out = tmp_path / "r"
    found = robustness(studies(tmp_path, 6), out, root=tmp_path, read=Seer(tmp_path).read, seed=3, names=("blur",))
    rows = store.read_lines(out / "robustness.jsonl", VerdictRow)
    assert curves(rows, seed=3) == found == store.read_json(out / "robustness.json")


def test_a_limit_takes_whole_patients_and_only_closed_questions(tmp_path):
    examples = studies(tmp_path, 20)
    twice = [*examples, *(one.model_copy(update={"id": f"{one.id}-2"}) for one in examples)]
    chosen = asked_of(twice, limit=7, seed=0)
    assert len(chosen) == 6
    assert len({one.patient for one in chosen}) == 3
    assert {one.kind for one in chosen} == {"presence"}
    assert chosen == asked_of(twice, limit=7, seed=0) != asked_of(twice, limit=7, seed=1)
    assert len(asked_of(twice, limit=1, seed=0)) == 2, "one whole patient at least"
    assert asked_of(twice, limit=None, seed=0) == [one for one in twice if one.kind == "presence"]


def test_a_killed_run_ends_with_the_same_bytes(tmp_path):
    examples, whole, torn = studies(tmp_path, 40), tmp_path / "whole", tmp_path / "torn"
    rest = {"root": tmp_path, "seed": 0, "names": ("noise", "jpeg"), "severities": (3,)}
    robustness(examples, whole, read=Seer(tmp_path).read, **rest)
    seer, calls = Seer(tmp_path), []

    def mortal(pairs):
        if calls:
            raise KeyboardInterrupt
        calls.append(len(pairs))
        return seer.read(pairs)

    with pytest.raises(KeyboardInterrupt):
        robustness(examples, torn, read=mortal, **rest)
    robustness(examples, torn, read=seer.read, **rest)
    assert seer.calls == 3, "40 questions are three chunks, none read twice"
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == {
        path.name: path.read_bytes() for path in torn.iterdir()
    }
