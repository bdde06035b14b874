import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from medpref.evaluation.attention import focus, relative, touched
from medpref.schema import Region


def test_focus_against_scipy():
    rng = np.random.default_rng(0)
    attention, inside = rng.random((6, 6)), rng.random((6, 6)) < 0.3
    found = focus(attention, inside)
    mask = inside / inside.sum()
    q = attention / attention.sum()
    assert found.ratio == pytest.approx(attention[inside].sum() / (attention.sum() / 36 * inside.sum()))
    assert found.kl == pytest.approx(entropy(mask.ravel() + 1e-12, q.ravel() + 1e-12), rel=1e-6)
    assert found.js == pytest.approx(jensenshannon(mask.ravel(), q.ravel()) ** 2, rel=1e-6)


def test_even_attention_is_chance_and_the_mask_itself_is_best():
    inside = np.zeros((4, 4), bool)
    inside[1, 1:3] = True
    assert focus(np.ones((4, 4)), inside).ratio == 1.0
    best = focus(inside.astype(float), inside)
    assert (best.ratio, best.kl, best.js) == (8.0, pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9))
    assert focus(np.ones((4, 4)), np.zeros((4, 4), bool)) is None


def test_touched_patches_by_hand():
    patches = touched([Region(box=(10, 0, 31, 10))], size=(40, 40), grid=(4, 4))
    assert patches.tolist() == [[False, True, True, True]] + [[False] * 4] * 3
    assert touched([Region(box=(35, 35, 60, 60))], size=(40, 40), grid=(4, 4)).sum() == 1


def test_relative_never_divides_by_zero():
    assert relative(np.array([1e-8, 2.0]), np.array([0.0, 4.0])).tolist() == [1.0, 0.5]


@pytest.mark.parametrize("family", ["llava-mistral", "qwen2_5_vl"])
def test_curve_of_a_tiny_policy(family, tmp_path):
    from medpref.evaluation.attend import attend, attention_curve
    from medpref.imaging.decode import read_image
    from medpref.models.policy import load_policy
    from tests.evaluation.studies import studies

    policy = load_policy(f"tiny:{family}@random")
    before = policy.base.config._attn_implementation
    examples = studies(tmp_path, 6)
    found = attention_curve(policy, examples, root=tmp_path, seed=0)
    layers = policy.base.config.get_text_config().num_hidden_layers
    assert [row["metric"] for row in found].count("attention_ratio") == layers
    assert all(row["clusters"] == 3 and row["items"] == 6 for row in found)
    assert policy.base.config._attn_implementation == before
    policy.base.set_attn_implementation("eager")
    rows = attend(policy, "Is there a nodule?", policy.pixels([read_image(examples[0].images[0].locate(tmp_path))]))
    assert rows.shape[0] == layers
    assert ((rows > 0) & (rows < 1)).all()
    assert (rows.sum(axis=1) < 1).all(), "the prompt's text has a share too"
