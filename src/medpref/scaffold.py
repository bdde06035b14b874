"""A runnable method from a name: a plugin file with a term, a recipe beside it, and the test of its contract."""

from __future__ import annotations

import re
from pathlib import Path

from medpref.errors import RecipeError
from medpref.recipe import shipped
from medpref.registry import TERMS

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")

METHOD = '''"""NAME: DPO that asks for a gap.

A method is this file (what the loss is) and the recipe beside it (what is preferred over what)::

    medpref check NAME.py
    medpref run NAME.yaml --plugin NAME.py --out runs/NAME
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medpref.objectives import BranchField, Comparison, Needs, Scores, Term, Totals
from medpref.objectives.tokens import reference, total
from medpref.registry import TERMS
from medpref.schema import Branch


@TERMS.add
class CLASS(Term):
    """``-log s(beta (D_better - D_worse) - gap)`` with ``D = sum log policy - sum log reference`` of a branch."""

    kind: Literal["NAME"] = "NAME"
    better: BranchField
    worse: BranchField
    beta: float = Field(default=0.1, gt=0)
    gap: float = Field(default=0.5, ge=0, description="how far apart the rewards should be, nats times beta")

    @property
    def needs(self) -> Needs:
        both = frozenset({self.better, self.worse})
        return Needs(branches=both, reference=both)

    @property
    def name(self) -> str:
        return f"{self.kind}({self.better}>{self.worse})"

    def __call__(self, scores: Scores, totals: Totals) -> Float[Tensor, " pair"]:
        margin = self._reward(scores, self.better) - self._reward(scores, self.worse)
        both = scores[self.better].present & scores[self.worse].present
        return (-F.logsigmoid(margin - self.gap)).where(both, 0)

    def compare(self, scores: Scores) -> Comparison:
        rewards = (self._reward(scores, branch).detach() for branch in (self.better, self.worse))
        return Comparison(self.better, self.worse, *rewards)

    def _reward(self, scores: Scores, branch: Branch) -> Float[Tensor, " pair"]:
        read = scores[branch]
        return self.beta * total(read.policy - reference(scores, branch), read.mask)
'''

RECIPE = """# medpref run NAME.yaml --plugin NAME.py --source phantom --policy tiny:llava-mistral --out runs/NAME
name: NAME
summary: the right answer over a wrong one, and over the right one on an image without the lesion, by a gap
pairs:
  - name: both
    chosen: {kind: reference}
    rejected: {kind: hallucinate}
    localize: {kind: given_regions}
    corrupt: {kind: inpaint}
objective:
  - {kind: NAME, better: clean/chosen, worse: clean/rejected}
  - {kind: NAME, better: clean/chosen, worse: corrupt/chosen, gap: 0.2, weight: 0.5}
train: {epochs: 1, batch: 8, learning_rate: 1.0e-6, lora: {r: 16, alpha: 32}}
"""

TEST = '''"""The contract of NAME.py and the self-check of its recipe."""

from pathlib import Path

from medpref.testing.plugin import check_plugin


def test_every_component_keeps_its_contract() -> None:
    done = check_plugin(Path(__file__).with_name("NAME.py"))
    assert {one.noun for one in done} == {"term", "recipe"}
'''


def new_method(name: str, folder: Path) -> list[Path]:
    """The files written into ``folder``: NAME.py, NAME.yaml, test_NAME.py. RecipeError where one would be replaced.

    The method is complete: it passes ``medpref check`` and trains. Replace its formula by yours.
    """
    where = f"new-method {name}"
    if not _NAME.match(name):
        raise RecipeError(where, given=repr(name), expected="a-z, 0-9 and _, a letter first", todo="choose such a name")
    if name in shipped() or name in TERMS.classes():
        given = "the name of a shipped recipe or term"
        raise RecipeError(where, given=given, expected="a name of its own", todo="choose another")
    texts = {f"{name}.py": METHOD, f"{name}.yaml": RECIPE, f"test_{name}.py": TEST}
    paths = {folder / file: filled(text, name) for file, text in texts.items()}
    there = [path for path in paths if path.exists()]
    if there:
        raise RecipeError(
            where, given=f"{there[0]} exists", expected="a free name", todo="choose another name or folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in paths.items():
        path.write_text(text, encoding="utf-8")
    return list(paths)


def filled(text: str, name: str) -> str:
    """A template with a method's name, and its class's name, put in.

    >>> filled("class CLASS: kind = NAME", "my_method")
    'class MyMethod: kind = my_method'
    """
    return text.replace("CLASS", "".join(part.capitalize() for part in name.split("_"))).replace("NAME", name)
