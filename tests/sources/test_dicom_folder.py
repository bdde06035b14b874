from pathlib import Path

import numpy as np
import pytest

from medpref.errors import DataError
from medpref.imaging.decode import read_array
from medpref.registry import SOURCES
from medpref.schema import Example
from tests.imaging.test_decode import dicom_file
from tests.sources.user_data import write_image


def load(folder: Path, out: Path) -> list[Example]:
    source = SOURCES.parse({"kind": "dicom_folder", "folder": str(folder)}, where="test")
    return list(source.load(out, seed=0, prefix="examples"))


def test_a_folder_of_dicom_and_a_table(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    header = {"PatientID": "MRN 0815", "Modality": "DX", "ViewPosition": "PA", "BodyPartExamined": "CHEST"}
    dicom_file(tmp_path / "a.dcm", pixels, **header)
    dicom_file(tmp_path / "b.dcm", pixels + 1)
    write_image(tmp_path / "c.png", seed=0)
    (tmp_path / "questions.csv").write_text(
        "image,question,answer,split,patient\n"
        "a.dcm,Is there an effusion?,no,train,\n"
        "a.dcm,Is it normal?,yes,train,\n"
        "b.dcm,Is it normal?,yes,test,p2\n"
        "c.png,Is it normal?,yes,test,\n"
    )
    first, second, third, fourth = load(tmp_path, tmp_path / "out")
    assert first.patient == second.patient
    assert first.patient.startswith("dicom-")
    assert "0815" not in first.model_dump_json(), "the patient's own id must not leave the header"
    assert first.tags == {"modality": "DX", "view": "PA", "body_part": "CHEST"}
    assert (first.source, third.patient, third.tags) == ("dicom_folder", "p2", {})
    assert fourth.patient.startswith("image:")
    blob = tmp_path / "out" / first.images[0].path.removeprefix("examples/")
    assert np.array_equal(read_array(blob), read_array(tmp_path / "a.dcm"))


def test_a_missing_table_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"questions\.csv: no such file"):
        load(tmp_path, tmp_path)
    (tmp_path / "questions.csv").write_text("image,question,answer,split\nx.dcm,q,a,train\n")
    with pytest.raises(DataError, match=r"questions\.csv:2:image: .*x\.dcm: no such file"):
        load(tmp_path, tmp_path)
