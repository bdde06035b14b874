import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from medpref.evaluation.attention import Focus, focus, layer_curve, layer_rows, relative, touched
from medpref.evaluation.estimate import estimates
from medpref.evaluation.overlay import levels, wrong_cases
from medpref.evaluation.vqa import row_of
from medpref.schema import Region
from tests.evaluation.studies import studies


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


def focuses(seed, layers=3):
    rng = np.random.default_rng(seed)
    return [Focus(*rng.random(3)) for _ in range(layers)]


def test_rows_are_the_mean_over_layers_and_the_curve_is_recomputed_from_them(tmp_path):
    examples = studies(tmp_path, 6)
    held = [focuses(n) for n in range(len(examples))]
    rows = [row for one, layers in zip(examples, held, strict=True) for row in layer_rows(one, layers)]
    ratio = [row for row in rows if row.metric == "attention_ratio"]
    assert [row.value for row in ratio] == pytest.approx([np.mean([f.ratio for f in layers]) for layers in held])
    curve = {(row["metric"], row["layer"]): row for row in layer_curve(rows, seed=0)}
    assert len(curve) == 9
    for layer in range(3):
        found = curve["attention_js", layer]
        assert found["value"] == pytest.approx(np.mean([layers[layer].js for layers in held]), abs=1e-6)
        assert (found["items"], found["clusters"]) == (len(examples), 6)
        assert found["low"] <= found["value"] <= found["high"]
    assert layer_curve([], seed=0) == []
    overall = next(one for one in estimates(rows, seed=0) if one["metric"] == "attention_ratio")
    assert overall["value"] == pytest.approx(np.mean([row.value for row in ratio]))


def test_maps_become_whole_numbers():
    found = levels(np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 4.0]]))
    assert (found["rows"], found["columns"], found["values"]) == (2, 3, [0, 64, 128, 191, 255, 255])
    assert levels(np.full((2, 2), 7.0))["values"] == [0, 0, 0, 0]


def test_cases_are_wrong_bounded_and_in_one_order_for_every_model(tmp_path):
    examples = [one for one in studies(tmp_path, 80) if one.answer_type != "report"]
    rows = [row_of(one, "closed_accuracy", float(n % 3 == 0)) for n, one in enumerate(examples)]
    first = wrong_cases(examples, rows, seed=0)
    assert len(first) == 24
    wrong = {row.example for row in rows if row.value == 0}
    assert {one.id for one in first} <= wrong
    assert first != sorted(first, key=lambda one: one.id)
    other = wrong_cases(examples[::-1], [row for row in rows if row.example != first[0].id], seed=0)
    assert other[:23] == first[1:], "what one model has wrong less leaves the others' order"
    assert wrong_cases(examples, [], seed=0) == []


FAMILIES = ("llava-mistral", "qwen2_5_vl")


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request):
    from medpref.models.policy import load_policy

    return load_policy(f"tiny:{request.param}@random")


def test_attention_is_read_at_the_familys_own_positions(policy):
    """As transformers reads it when it is told which tokens are the image: rows and columns on three rotary axes."""
    import torch
    from PIL import Image

    from medpref.evaluation.attend import attend, eager

    pixels = policy.pixels([Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))])
    ids = torch.tensor([policy.prompt_ids("Is there a nodule?", pixels)])
    image = ids == policy.family.image_token_id(policy.base)
    told = {"mm_token_type_ids": image.int()} if policy.family.axes == 3 else {}
    with eager(policy), torch.no_grad():
        found = attend(policy, "Is there a nodule?", pixels)
        out = policy.base(input_ids=ids, **pixels, **told, output_attentions=True, use_cache=False)
    theirs = [layer[0, :, -1].mean(dim=0)[image[0]].numpy() for layer in out.attentions]
    assert found == pytest.approx(np.stack(theirs), abs=1e-6)


def test_curve_of_a_tiny_policy(policy, tmp_path):
    from medpref.evaluation.attend import attend, attention_curve, attention_rows, eager
    from medpref.imaging.decode import read_image

    before = policy.base.config._attn_implementation
    examples = studies(tmp_path, 6)
    found = attention_curve(policy, examples, root=tmp_path, seed=0)
    layers = policy.base.config.get_text_config().num_hidden_layers
    assert [row["metric"] for row in found].count("attention_ratio") == layers
    assert all(row["clusters"] == 3 and row["items"] == 6 for row in found)
    assert policy.base.config._attn_implementation == before
    rows = attention_rows(policy, examples, root=tmp_path)
    assert [len(held) for held in rows] == [3 if one.regions else 0 for one in examples]
    assert layer_curve([row for held in rows for row in held], seed=0) == found
    with eager(policy):
        pixels = policy.pixels([read_image(examples[0].images[0].locate(tmp_path))])
        attention = attend(policy, "Is there a nodule?", pixels)
    assert attention.shape[0] == layers
    assert ((attention > 0) & (attention < 1)).all()
    assert (attention.sum(axis=1) < 1).all(), "the prompt's text has a share too"


def test_saliency_is_the_slope_of_the_reply_s_log_probability(policy, tmp_path):
    """Against finite differences: along the gradient's signs log p rises by the sum of the map per unit of step."""
    import torch

    from medpref.evaluation.attend import saliency_map
    from medpref.imaging.decode import read_image
    from medpref.models.saliency import PIXELS, reply_log_prob

    example = studies(tmp_path, 2)[0]
    found = saliency_map(policy, example, "yes", root=tmp_path)
    assert (found >= 0).all()
    assert found.max() > 0
    pixels = policy.pixels([read_image(example.images[0].locate(tmp_path))])
    prompt = policy.prompt_ids(example.question, pixels)
    values = pixels[PIXELS].clone().requires_grad_()
    (slope,) = torch.autograd.grad(reply_log_prob(policy, prompt, "yes", {**pixels, PIXELS: values}), values)
    step = 1e-3 * slope.sign()
    with torch.no_grad():
        ends = [reply_log_prob(policy, prompt, "yes", {**pixels, PIXELS: values + s * step}).item() for s in (1, -1)]
    assert (ends[0] - ends[1]) / 2e-3 == pytest.approx(slope.abs().sum().item(), rel=0.05)
    size = slope[0, 0].numel() / found.size if slope.dim() == 4 else 1
    assert found.sum() * size == pytest.approx(slope.abs().sum().item(), rel=1e-4)


def test_a_map_s_cells_lie_where_the_image_does(policy, tmp_path):
    """Values changed in one corner of the image change the cells of that corner alone."""
    from PIL import Image

    from medpref.models.saliency import PIXELS, by_token, one_grid

    plain = Image.new("L", (96, 96), 90)
    spot = plain.copy()
    spot.paste(200, (60, 4, 90, 30))
    one, two = policy.pixels([plain]), policy.pixels([spot])
    tokens = policy.prompt_ids("?", one).count(policy.family.image_token_id(policy.base))
    grid = one_grid(policy, one, tokens, shape=(96, 96))
    changed = by_token((two[PIXELS] - one[PIXELS]).abs().double(), [grid])
    rows, columns = np.nonzero(changed > 0.05 * changed.max())
    assert rows.max() < grid[0] / 2 <= columns.min(), (grid, rows, columns)
    expected = touched([Region(box=(60, 4, 90, 30))], size=(96, 96), grid=grid)
    assert expected[np.unravel_index(changed.argmax(), grid)]


def test_tiles_and_crops_have_no_grid(policy):
    import torch

    from medpref.models.saliency import one_grid

    tiles = {"pixel_values": torch.zeros(4, 3, 8, 8)}
    assert one_grid(policy, tiles, 16, shape=(8, 8)) is None
    assert one_grid(policy, {"pixel_values": torch.zeros(1, 3, 8, 8)}, 15, shape=(8, 8)) is None


def test_several_images_and_empty_replies_have_no_map(policy, tmp_path):
    from medpref.evaluation.attend import attention_map, saliency_map

    example = studies(tmp_path, 1)[0]
    both = example.model_copy(update={"images": example.images * 2})
    assert attention_map(policy, both, root=tmp_path) is None
    assert saliency_map(policy, both, "yes", root=tmp_path) is None
    assert saliency_map(policy, example, " ", root=tmp_path) is None
    shown = attention_map(policy, example, root=tmp_path)
    assert shown.mean() == pytest.approx(1.0)
