import itertools

import numpy as np
import pytest
from scipy import ndimage

from medpref.errors import DataError
from medpref.evaluation.degrade import DEGRADATIONS, SEVERITIES, degrade
from medpref.evaluation.robustness import robustness
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
    assert not list((out / "blobs").iterdir())
