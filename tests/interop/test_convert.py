import doctest
import importlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref import cli, store
from medpref.errors import DataError
from medpref.interop.convert import FORMATS, Converted, convert
from medpref.interop.rrpo import masked_copy, spans_of
from medpref.registry import SOURCES
from medpref.schema import PreferencePair, Reply, Span
from medpref.sources.validate import validate
from tests.interop.made_up import corrupt, image, pair, pairs_file, read, said, write_json

PEERS = sorted(set(FORMATS) - {"pairs"})
FILES = {"llamafactory": "medpref.json", "mmedpo": "data.json", "rrpo": "data.json", "swift": "data.jsonl"}


def skip_without_library(name: str) -> None:
    if name == "trl_dataset":
        pytest.importorskip("datasets", reason="needs the extra datasets")


@pytest.mark.parametrize("name", PEERS)
def test_text_pairs_come_back_from_every_format(tmp_path: Path, name: str) -> None:
    skip_without_library(name)
    held = [pair(tmp_path / "img", number) for number in range(3)]
    file = pairs_file(tmp_path / "run", held)
    assert convert(f"pairs:{file}", f"{name}:{tmp_path / 'there'}") == Converted(3, [])
    there = tmp_path / "there" / FILES.get(name, "")
    assert convert(f"{name}:{there}", f"pairs:{tmp_path / 'back'}") == Converted(3, [])
    back = store.read_lines(tmp_path / "back" / "pairs.jsonl", PreferencePair)
    assert [said(one) for one in back] == [said(one) for one in held]
    assert validate(tmp_path / "back" / "pairs.jsonl") == []


@pytest.mark.parametrize("name", ["swift", "mmedpo"])
def test_a_second_image_comes_back_too(tmp_path: Path, name: str) -> None:
    one = {"chosen": Reply(text="No")}
    held = [corrupt(tmp_path / "img", 0), corrupt(tmp_path / "img", 1, replies=one)]
    convert(f"pairs:{pairs_file(tmp_path / 'run', held)}", f"{name}:{tmp_path / 'there'}")
    back = read(name, tmp_path / "there" / FILES[name])
    assert [said(found) for found in back] == [said(found) for found in held]


def test_weights_masks_and_patients_come_back_where_the_format_says_them(tmp_path: Path) -> None:
    file = pairs_file(tmp_path / "run", [pair(tmp_path / "img", 0, weight=0.25)])
    for name in ("mmedpo", "rows"):
        convert(f"pairs:{file}", f"{name}:{tmp_path / name}")
        (back,) = read(name, tmp_path / name / ("data.json" if name == "mmedpo" else "data.jsonl"))
        assert isinstance(back, PreferencePair)
        assert back.weight == 0.25
    file = pairs_file(tmp_path / "two", [pair(tmp_path / "img", 0)])
    convert(f"pairs:{file}", f"rrpo:{tmp_path / 'rrpo'}")
    (back,) = read("rrpo", tmp_path / "rrpo" / "data.json")
    assert isinstance(back, PreferencePair)
    assert back.replies["rejected"].spans == (Span(start=12, end=22),)
    convert(f"pairs:{file}", f"trl:{tmp_path / 'trl'}")
    (back,) = read("trl", tmp_path / "trl")
    assert isinstance(back, PreferencePair)
    assert back.patient == "patient-0"


def test_what_the_target_cannot_say_is_refused_or_left_out_on_demand(tmp_path: Path) -> None:
    only_image = corrupt(tmp_path / "img", 2, replies={"chosen": Reply(text="No")})
    held = [pair(tmp_path / "img", 0, weight=0.5), corrupt(tmp_path / "img", 1), only_image]
    file = pairs_file(tmp_path / "run", held)
    with pytest.raises(DataError, match=r"pair p0: has a weight; expected nothing that trl cannot say; .* --lossy"):
        convert(f"pairs:{file}", f"trl:{tmp_path / 'out'}")
    with pytest.raises(DataError, match="pair p1: has a corrupt view; expected nothing that rows cannot say"):
        convert(f"pairs:{file}", f"rows:{tmp_path / 'out'}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["img", "run"], "nothing is left behind"
    done = convert(f"pairs:{file}", f"trl:{tmp_path / 'out'}", lossy=True)
    assert (done.written, [one.example for one in done.dropped]) == (2, ["p2"])
    (line,) = [row for _, row in store.iter_lines(tmp_path / "out" / "dropped.jsonl")]
    assert line == {
        "example": "p2",
        "reason": "only its images differ, and trl has no second image",
        "step": "convert",
    }
    back = [one for one in read("trl", tmp_path / "out") if isinstance(one, PreferencePair)]
    assert [(set(one.views), one.weight) for one in back] == [({"clean"}, 1.0)] * 2


def test_rows_can_be_trained_on(tmp_path: Path) -> None:
    held = [pair(tmp_path / "img", number, weight=0.5) for number in range(30)]
    convert(f"pairs:{pairs_file(tmp_path / 'run', held)}", f"rows:{tmp_path / 'rows'}")
    assert validate(tmp_path / "rows" / "data.jsonl") == []
    config = {"kind": "jsonl", "file": str(tmp_path / "rows" / "data.jsonl"), "split": "by_patient"}
    source = SOURCES.parse(config, where="test")
    examples = list(source.load(tmp_path / "out", seed=0, prefix="examples"))
    assert {example.split for example in examples} == {"train", "validation", "test"}
    pairs = list(source.pairs(examples))
    assert 0 < len(pairs) < 30
    assert {(one.replies["rejected"].text, one.weight) for one in pairs} == {("The lung is full of it.", 0.5)}


def test_a_run_folder_s_pairs_are_found_and_a_changed_image_is_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    image(run / "examples" / "blobs", "a.png", 1)
    sha256 = store.file_digest(run / "examples" / "blobs" / "a.png")
    held = pair(tmp_path / "img", 0)
    relative = {"clean": [{"path": "examples/blobs/a.png", "sha256": sha256}]}
    write_json(run / "pairs" / "dpo" / "pairs.jsonl", [{**json.loads(store.to_json(held)), "views": relative}])
    convert(f"pairs:{run / 'pairs' / 'dpo'}", f"swift:{tmp_path / 'out'}")
    (row,) = [row for _, row in store.iter_lines(tmp_path / "out" / "data.jsonl")]
    assert row["images"] == [f"images/{sha256}.png"]
    assert row["messages"][0]["content"] == "<image>\nIs there a made-up shadow?"
    image(run / "examples" / "blobs", "a.png", 9)
    with pytest.raises(DataError, match=r"pairs\.jsonl:1: examples/blobs/a\.png with content .*; expected content"):
        convert(f"pairs:{run / 'pairs' / 'dpo'}", f"swift:{tmp_path / 'again'}")


def test_an_exported_folder_is_trl_s_own_format(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra datasets")
    file = pairs_file(tmp_path / "run", [pair(tmp_path / "img", number) for number in range(2)])
    convert(f"pairs:{file}", f"trl:{tmp_path / 'folder'}")
    convert(f"pairs:{file}", f"trl_dataset:{tmp_path / 'saved'}")
    store.write_lines(tmp_path / "folder" / "dropped.jsonl", [{"example": "x"}])
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "folder"), cache_dir=str(tmp_path / "cache"))
    for rows in (loaded["train"], datasets.load_from_disk(str(tmp_path / "saved"))):
        row = rows[0]
        assert len(rows) == 2
        assert [picture.size for picture in row["images"]] == [(9, 8)]
        (message,) = row["prompt"]
        assert [part["type"] for part in message["content"]] == ["image", "text"]
        assert message["content"][1]["text"] == "Is there a made-up shadow?"
        assert [message["role"] for message in row["chosen"]] == ["assistant"]
        assert row["rejected"][0]["content"][0]["text"] == "The lung is full of it."


def test_peers_ids_that_are_not_unique_are_kept_apart(tmp_path: Path) -> None:
    image(tmp_path, "a.png", 1)
    row = {"id": 5, "image": "a.png", "prompt": "Is it?", "chosen": "No", "rejected": "Yes"}
    file = write_json(tmp_path / "r.jsonl", [row, row, {**row, "rejected": "No"}])
    done = convert(f"trl:{file}", f"pairs:{tmp_path / 'out'}")
    assert done.written == 2
    assert [one.reason for one in done.dropped] == ["chosen and rejected are the same text about the same image"]
    held = store.read_lines(tmp_path / "out" / "pairs.jsonl", PreferencePair)
    assert [(one.id, one.example) for one in held] == [("5", "5"), ("5#2", "5#2")]


def test_images_elsewhere_and_targets_that_exist(tmp_path: Path) -> None:
    image(tmp_path / "elsewhere", "a.png", 1)
    file = write_json(tmp_path / "r.jsonl", [{"image": "a.png", "prompt": "?", "chosen": "No", "rejected": "Yes"}])
    with pytest.raises(DataError, match="say where images lie: --images FOLDER"):
        convert(f"trl:{file}", f"pairs:{tmp_path / 'out'}")
    assert convert(f"trl:{file}", f"pairs:{tmp_path / 'out'}", images=tmp_path / "elsewhere").written == 1
    with pytest.raises(DataError, match="out: it exists; expected a new folder"):
        convert(f"trl:{file}", f"pairs:{tmp_path / 'out'}", images=tmp_path / "elsewhere")
    with pytest.raises(DataError, match="format 'trll'; expected FORMAT:PATH; did you mean 'trl'"):
        convert(f"trll:{file}", f"pairs:{tmp_path / 'x'}")
    with pytest.raises(DataError, match="trl: no path; expected FORMAT:PATH"):
        convert("trl", f"pairs:{tmp_path / 'x'}")
    empty = write_json(tmp_path / "empty.json", [])
    with pytest.raises(DataError, match="no pair; expected at least one; check the format's name"):
        convert(f"trl:{empty}", f"pairs:{tmp_path / 'x'}")


def test_mmedpo_refuses_two_images_a_side(tmp_path: Path) -> None:
    views = {"clean": pair(tmp_path / "img", 0).views["clean"] * 2}
    file = pairs_file(tmp_path / "run", [pair(tmp_path / "img", 0, views=views)])
    with pytest.raises(DataError, match="pair p0: 2 images; expected one image a side"):
        convert(f"pairs:{file}", f"mmedpo:{tmp_path / 'out'}")


def test_the_command_line_says_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pairs_file(tmp_path / "run", [pair(tmp_path / "img", 0), pair(tmp_path / "img", 1)])

    def call(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["medpref", "convert", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0)

    assert call(f"pairs:{file}", f"swift:{tmp_path / 'out'}") == 0
    assert capsys.readouterr().out == f"swift:{tmp_path / 'out'}: 2 pairs\n"
    assert call(f"pairs:{file}", f"swfit:{tmp_path / 'two'}") == 2
    assert "did you mean 'swift'" in capsys.readouterr().err


@given(st.text(alphabet="ab c\n", max_size=30), st.data())
@settings(max_examples=60, deadline=None)
def test_masked_copies_give_back_their_spans(text: str, data: st.DataObject) -> None:
    words = [index for index, letter in enumerate(text) if not letter.isspace()]
    chosen = sorted(data.draw(st.sets(st.sampled_from(words)))) if words else []
    spans = tuple(Span(start=place, end=place + 1) for place in chosen)
    assert spans_of(text, masked_copy(text, spans), where="") == spans


@pytest.mark.parametrize("name", ["turns", "rrpo"])
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"medpref.interop.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
