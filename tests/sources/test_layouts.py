"""`medpref validate` on a published data set in its authors' layout."""

from pathlib import Path

import pytest

from medpref import cli, store
from medpref.sources.layouts import recognise
from medpref.sources.validate import validate
from medpref.stages import examples_stage
from tests.sources import test_path_vqa, test_reports, test_slake, test_vqa_med, test_vqa_rad


def miniatures(folder: Path) -> dict[str, Path]:
    return {
        "slake": test_slake.miniature(folder / "slake"),
        "vqa_rad": test_vqa_rad.miniature(folder / "rad", test_vqa_rad.MIXED),
        "path_vqa": test_path_vqa.miniature(folder / "path"),
        "vqa_med": test_vqa_med.miniature(folder / "med"),
        "iu_xray": test_reports.miniature(folder / "iu", test_reports.STUDIES),
    }


def test_each_layout_is_recognised_and_nothing_is_written_into_it(tmp_path: Path) -> None:
    for kind, folder in miniatures(tmp_path).items():
        before = sorted(folder.rglob("*"))
        assert recognise(folder).kind == kind
        validate(folder)
        assert sorted(folder.rglob("*")) == before
    assert recognise(tmp_path) is None


def test_each_becomes_the_examples_folder_of_a_run(tmp_path: Path) -> None:
    for kind, folder in miniatures(tmp_path / "data").items():
        root = tmp_path / "runs" / kind
        manifest = examples_stage(root, recognise(folder), seed=0)
        assert sum(manifest["counts"].values()) > 0
        told = store.read_json(root / "examples" / "splits.json")["leaks"]["image"]
        problems = validate(root)
        assert {problem.name for problem in problems} <= {"leaked image", "leaked patient"}, kind
        assert bool(told) == any(problem.name == "leaked image" for problem in problems)
        assert examples_stage(root, recognise(folder), seed=0)["skipped"]


def test_leaks_are_problems_with_their_number(tmp_path: Path) -> None:
    folders = miniatures(tmp_path)
    assert validate(folders["vqa_med"]) == []
    assert validate(folders["iu_xray"]) == []
    lines = [str(problem) for problem in validate(folders["vqa_rad"])]
    assert [line.removeprefix(f"{folders['vqa_rad']}: ").partition(";")[0] for line in lines] == [
        "1 image in train and test",
        "1 patient in train and test",
    ]
    slake = [(problem.name, problem.given) for problem in validate(folders["slake"])]
    assert slake == [
        ("leaked image", "1 image in train and validation and test"),
        ("leaked patient", "1 patient in train and validation and test"),
    ]


def test_the_first_loading_error_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = test_vqa_med.miniature(tmp_path)
    (folder / test_vqa_med.VALIDATION / "Val_images" / "synpic3.jpg").write_bytes(b"no image")
    (problem,) = validate(folder)
    assert problem.name == "vqa_med"
    assert problem.where.endswith("All_QA_Pairs_val.txt:1:image")
    assert "synpic3.jpg: unreadable image" in problem.given
    monkeypatch.setattr("sys.argv", ["medpref", "validate", str(folder)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
