from pathlib import Path

import pytest

from medpref.errors import DataError
from medpref.registry import SOURCES
from medpref.schema import Example
from medpref.sources.vqa_med import PARTS
from tests.sources.user_data import write_image

TRAINING, VALIDATION, TEST = (part.folder for part in PARTS)
LINES = {
    f"{TRAINING}/All_QA_Pairs_train.txt": [
        "synpic1|what kind of image is this?|ct",
        "synpic1|is this a t1 weighted image?|no",
        "synpic2|what is odd?|a made-up mass",
    ],
    f"{TRAINING}/QAPairsByCategory/C1_Modality_train.txt": [
        "synpic1|what kind of image is this?|ct",
        "synpic1|is this a t1 weighted image?|no",
    ],
    f"{VALIDATION}/All_QA_Pairs_val.txt": ["synpic3|which plane?|axial"],
    f"{VALIDATION}/QAPairsByCategory/C2_Plane_val.txt": ["synpic3|which plane?|axial"],
    f"{TEST}/VQAMed2019_Test_Questions_w_Ref_Answers.txt": [
        "synpic4|organ|which organ?|lung, mediastinum, pleura",
        "synpic4|abnormality|what is wrong?|(made-up) tumor#mass",
    ],
}


def miniature(folder: Path) -> Path:
    for name, lines in LINES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join(lines) + "\n")
    for part, numbers in zip(PARTS, ((1, 2), (3,), (4,)), strict=True):
        for number in numbers:
            write_image(folder / part.folder / part.images / f"synpic{number}.jpg", seed=number)
    return folder


def load(folder: Path) -> list[Example]:
    source = SOURCES.parse({"kind": "vqa_med", "folder": str(folder)}, where="test")
    return list(source.load(folder / "out", seed=0, prefix="examples"))


def test_lines_by_hand(tmp_path: Path) -> None:
    first, second, third, fourth, fifth, sixth = load(miniature(tmp_path))
    assert (first.id, first.patient, first.split) == ("vqa-med-train-000001", "synpic1", "train")
    assert (first.kind, first.answer, first.answer_type) == ("modality", "ct", "open")
    assert (second.kind, second.answer_type, second.choices) == ("modality", "closed", ("yes", "no"))
    assert third.kind == "other", "no category's file has it"
    assert (fourth.split, fourth.kind) == ("validation", "plane")
    assert (fifth.split, fifth.kind, fifth.answer) == ("test", "organ", "lung, mediastinum, pleura")
    assert (sixth.kind, sixth.answer, sixth.tags) == (
        "abnormality",
        "made-up tumor",
        {"source": "vqa_med", "alternatives": "yes"},
    )


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        (f"{TRAINING}/All_QA_Pairs_train.txt", "synpic1|only two", r"train\.txt:1: 2 cells: 'synpic1\|only two'"),
        (f"{VALIDATION}/All_QA_Pairs_val.txt", "synpic3|which plane?|", r"val\.txt:1: 3 cells"),
        (f"{TRAINING}/All_QA_Pairs_train.txt", "synpic9|q|a", r"train\.txt:1:image: .*synpic9\.jpg: no such file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, line: str, message: str) -> None:
    folder = miniature(tmp_path)
    (folder / name).write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        load(folder)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    folder = miniature(tmp_path)
    (folder / TEST / "VQAMed2019_Test_Questions_w_Ref_Answers.txt").unlink()
    with pytest.raises(DataError, match=r"Ref_Answers\.txt: nothing there; expected VQA-Med-2019's questions"):
        load(folder)
