from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref import store
from medpref.errors import ArtifactError, DataError
from medpref.schema import OwnReply

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
@settings(max_examples=50, deadline=None)
def test_equal_values_have_equal_digests(value: object) -> None:
    import json

    again = json.loads(json.dumps(value))
    assert store.digest(value) == store.digest(again)


def test_stage_runs_once_and_again_when_an_input_changes(tmp_path: Path) -> None:
    calls = []

    def work(out: Path) -> dict[str, int]:
        calls.append(out.name)
        (out / "x").write_text("done")
        return {"n": len(calls)}

    first = store.stage(tmp_path / "a", name="a", inputs={"k": 1}, work=work)
    second = store.stage(tmp_path / "a", name="a", inputs={"k": 1}, work=work)
    third = store.stage(tmp_path / "a", name="a", inputs={"k": 2}, work=work)
    assert (first["skipped"], second["skipped"], third["skipped"]) == (False, True, False)
    assert calls == ["a.partial", "a.partial"]
    assert third["counts"] == {"n": 2}
    assert not (tmp_path / "a.partial").exists()


def test_bad_input_leaves_nothing_and_a_crash_leaves_its_journal(tmp_path: Path) -> None:
    def bad(out: Path) -> dict[str, int]:
        (out / "half").write_text("x")
        raise DataError("f", given="a", expected="b", todo="c")

    def crash(out: Path) -> dict[str, int]:
        with store.Journal(out / "journal.jsonl") as journal:
            journal.put("1", "one")
        raise KeyboardInterrupt

    with pytest.raises(DataError):
        store.stage(tmp_path / "a", name="a", inputs={}, work=bad)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        store.stage(tmp_path / "a", name="a", inputs={}, work=crash)
    with store.Journal(tmp_path / "a.partial" / "journal.jsonl") as journal:
        assert journal.done == {"1": "one"}


def test_partial_of_another_hash_is_started_afresh(tmp_path: Path) -> None:
    def crash(out: Path) -> dict[str, int]:
        (out / "old").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.stage(tmp_path / "a", name="a", inputs={"k": 1}, work=crash)
    store.stage(tmp_path / "a", name="a", inputs={"k": 2}, work=lambda out: {"old": int((out / "old").exists())})
    manifest = store.read_manifest(tmp_path / "a")
    assert manifest is not None
    assert manifest["counts"] == {"old": 0}


def test_journal_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with store.Journal(path) as journal:
        journal.put("a", [1])
    with open(path, "ab") as file:
        file.write(b'{"key": "b", "val')
    with store.Journal(path) as journal:
        assert journal.done == {"a": [1]}
        assert journal.get("b", lambda: 2) == 2
    with store.Journal(path) as journal:
        assert journal.done == {"a": [1], "b": 2}


def test_journal_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "j"
    code = f"""
    from pathlib import Path
    from medpref import store
    journal = store.Journal(Path({str(path)!r}))
    for i in range(10**6):
        journal.put(str(i), i)
        if i == 100:
            print("ready", flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with store.Journal(path) as journal:
        assert len(journal.done) > 100
        assert all(int(key) == value for key, value in journal.done.items())


def test_rows_name_file_row_and_key(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"example": "a", "text": "x"}\n{"example": "a", "txt": "x"}\n')
    with pytest.raises(DataError, match=r"r\.jsonl:2: text"):
        store.read_lines(path, OwnReply)
    path.write_text("{nope\n")
    with pytest.raises(DataError, match=r"r\.jsonl:1"):
        store.read_lines(path, OwnReply)
    with pytest.raises(DataError, match="no such file"):
        store.read_lines(tmp_path / "missing", OwnReply)


def test_require_says_which_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"pairs\.jsonl"):
        store.require(tmp_path, "pairs.jsonl")


@given(st.binary(max_size=64))
@settings(max_examples=25, deadline=None)
def test_blobs_are_addressed_by_content(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    name = store.put_blob(folder, data, ".bin")
    assert store.put_blob(folder, data, ".bin") == name
    assert store.file_digest(folder / name) == store.digest(data) == Path(name).stem
