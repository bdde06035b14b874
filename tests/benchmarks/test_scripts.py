"""Every script runs from end to end at the smallest size, and takes up where it stopped."""

from __future__ import annotations

import json

import document
import growth
import head
import pytest
import throughput

pytest.importorskip("trl")
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = ("--shape", "smoke", "--rounds", "1", "--threads", "1")


def test_the_whole_set_and_its_page(tmp_path, capsys):
    out = ("--out", str(tmp_path / "json"))
    asked = ("--workload", "A", "D4", "--scale", "4", "--micro", "1")
    throughput.main([*SMALL, *asked, *out])
    head.main(["--vocabulary", "2000", "--rows", "24", "--width", "16", "--rounds", "1", "--threads", "1", *out])
    growth.main([*SMALL, "--questions", "1", "2", "--sides", "4", *out, "--plot", str(tmp_path / "growth.png")])
    document.main(["--results", str(tmp_path / "json"), "--page", str(tmp_path / "page.md")])

    first = json.loads((tmp_path / "json" / "A.json").read_text())
    assert {"workload", "ratio_default", "ratio_tuned", "counts", "peak_memory_ratio", "machine"} <= set(first)
    assert set(first["ratio_default"]) == {"median", "min", "max"}
    assert first["counts"]["warm"]["tokens"] == 16 + 40 + 2 * 19
    assert set(first["epochs"]) == {"1", "3"}
    case = json.loads((tmp_path / "json" / "E.json").read_text())["cases"][0]
    assert case["gradient_difference"] < 1e-5
    assert case["arms"]["naive"]["head_products"] == 3
    assert (tmp_path / "growth.png").stat().st_size > 10_000

    page = (tmp_path / "page.md").read_text()
    assert "Not measured on a GPU" in page
    for words in ("A: VQA", "D4: FiRe-MPO", "## E", "## Growth", "Where we lose"):
        assert words in page

    capsys.readouterr()
    throughput.main([*SMALL, *asked, *out])
    head.main([*out])
    said = capsys.readouterr()
    assert said.err.count("skipped") == 2
    assert said.out.count("skipped") == 1


def test_a_workload_without_trl_has_the_plain_loop_for_a_baseline(tmp_path, monkeypatch):
    from measure import arms

    monkeypatch.setattr(arms, "find_spec", lambda name: None)
    file = tmp_path / "B.json"
    throughput.main([*SMALL, "--workload", "B", "--scale", "8", "--arms", "naive", "--json", str(file)])
    found = json.loads(file.read_text())
    assert set(found["arms"]) == {"naive", "warm"}
    assert found["ratio_default"] is None
    assert found["ratios"]["warm_x_naive"]["median"] > 0


def test_the_slake_trace_has_its_statistics():
    from measure.workloads import slake

    questions = slake(40).questions
    assert len(questions) == 436
    chosen, rejected = (sorted(getattr(question, name) for question in questions) for name in ("chosen", "rejected"))
    assert chosen[len(chosen) // 2] == 2  # one word and the end token
    assert 15 <= rejected[len(rejected) // 2] <= 18


def test_the_gpu_shapes_have_the_parameters_of_their_names():
    import torch
    from measure.model import SHAPES, build

    for name, low, high in (("4b", 4.2e9, 4.6e9), ("7b", 7.4e9, 7.8e9)):
        model = build(SHAPES[name], device="meta", dtype=torch.bfloat16).base
        assert low < sum(value.numel() for value in model.parameters()) < high
        assert model.dtype == torch.bfloat16
