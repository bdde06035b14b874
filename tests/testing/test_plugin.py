"""What `medpref new-method` writes passes `medpref check`, pytest and a run; what is broken is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from medpref.cli import app
from medpref.errors import MedprefError, RecipeError
from medpref.registry import REGISTRIES
from medpref.scaffold import METHOD, RECIPE, filled, new_method
from medpref.testing.plugin import check_plugin

DOCS = Path(__file__).resolve().parents[2] / "docs" / "new_method.md"
SMALL = "phantom:studies=12,validation=0,test=2,size_px=64"


@pytest.fixture(autouse=True)
def registries_restored() -> Iterator[None]:
    """A plugin registers for the whole process; what a test registered is taken away again."""
    held = [(registry, dict(registry.classes())) for registry in REGISTRIES]
    yield
    for registry, classes in held:
        registry._classes.clear()
        registry._classes.update(classes)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), flags=re.M | re.S)


def test_the_docs_show_what_new_method_writes() -> None:
    assert blocks("python") == [filled(METHOD, "my_method")]
    assert blocks("yaml") == [filled(RECIPE, "my_method")]
    assert len(filled(METHOD, "my_method").splitlines()) <= 60


def test_the_docs_method_runs_as_the_docs_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDPREF_PROGRESS", "0")
    Path("my_method.py").write_text(blocks("python")[0], encoding="utf-8")
    Path("my_method.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    command = next(line for line in "".join(blocks("bash")).splitlines() if line.startswith("medpref run"))
    words = command.replace("--source phantom", f"--source {SMALL}").replace("llava-mistral", "llava-mistral@random")
    settings = ("sft.steps=2", "sft.batch=4", "train.steps=3", "train.batch=4")
    sets = [word for setting in settings for word in ("--set", setting)]
    result = call(*words.split()[1:], *sets, "--no-control", "--until", "train")
    assert result.exit_code == 0, result.output
    steps = Path("runs/my_method/train/my_method/steps.jsonl").read_text().splitlines()
    assert len(steps) == 3
    assert "terms/my_method(clean/chosen>corrupt/chosen)" in steps[0]
    checked = call("check", "my_method.py")
    assert checked.output == "ok  term my_method (2 forms)\nok  recipe my_method.yaml (1 form)\n"


def test_new_method_writes_a_method_that_checks_and_refuses_to_write_over_it(tmp_path: Path) -> None:
    result = call("new-method", "gap_dpo", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {"gap_dpo.py", "gap_dpo.yaml", "test_gap_dpo.py"}
    with pytest.raises(RecipeError, match=r"gap_dpo\.py exists"):
        new_method("gap_dpo", tmp_path)
    space: dict[str, object] = {"__file__": str(tmp_path / "test_gap_dpo.py"), "__name__": "test_gap_dpo"}
    exec(compile((tmp_path / "test_gap_dpo.py").read_text(), "test_gap_dpo.py", "exec"), space)
    space["test_every_component_keeps_its_contract"]()  # type: ignore[operator]


@pytest.mark.parametrize(("name", "message"), [("Big", "a letter first"), ("dpo", "shipped"), ("margin", "shipped")])
def test_new_method_refuses_a_name(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        new_method(name, tmp_path)
    assert not list(tmp_path.iterdir())


def written(folder: Path, *changes: tuple[str, str], file: str = "mine.py") -> Path:
    new_method("mine", folder)
    text = (folder / file).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / file).write_text(text)
    return folder / "mine.py"


def test_a_broken_term_is_named_and_the_command_fails(tmp_path: Path) -> None:
    dead = ("self._reward(scores, self.worse)\n        both", "self._reward(scores, self.better)\n        both")
    result = call("check", str(written(tmp_path, dead)))
    assert result.exit_code == 1
    assert "broken: term mine(clean/chosen>clean/rejected) declares clean/chosen, which does not" in result.output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("@TERMS.add\n", "")], "no component"),
        ([('Literal["mine"] = "mine"', 'Literal["anchor"] = "anchor"')], "a second class|shipped kind 'anchor'"),
        (
            [('Literal["mine"] = "mine"', 'Literal["anchor"] = "anchor"'), ("class Mine", "class Anchor")],
            "shipped kind 'anchor'",
        ),
    ],
)
def test_a_plugin_that_cannot_be_checked_says_why(tmp_path: Path, changes: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(MedprefError, match=message):
        check_plugin(written(tmp_path, *changes))


def test_a_component_without_a_form_asks_for_a_recipe(tmp_path: Path) -> None:
    file = written(tmp_path)
    (tmp_path / "mine.yaml").unlink()
    with pytest.raises(RecipeError, match=r"no recipe uses it.*use it in a recipe beside mine\.py"):
        check_plugin(file)


def test_a_recipe_beside_it_with_a_dead_view_is_refused(tmp_path: Path) -> None:
    worse = ("worse: corrupt/chosen, gap: 0.2", "worse: clean/rejected, gap: 0.2")
    with pytest.raises(RecipeError, match="view 'corrupt' is made and no term reads it"):
        check_plugin(written(tmp_path, worse, file="mine.yaml"))
