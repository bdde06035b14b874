"""Our own format: a JSON-lines (or CSV) file of questions beside its images.

The row ``{"image": "p1.png", "question": "Is there an effusion?", "answer": "No", "split": "test", "patient": "p1"}``
in ``data.jsonl``, line 7, becomes ``Example(id="data-000007", patient="p1", answer_type="closed", choices=("yes",
"no"), ...)``. `rows` lists the keys. Left out: ``id`` counts lines; ``patient`` is the first image's hash (so that one
image is one patient); ``answer_type`` is closed for a yes or no and where there are choices, else open. ``<image>``
marks in a question are taken out: the chat template places images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from medpref.errors import DataError
from medpref.registry import SOURCES
from medpref.schema import CHOSEN, CLEAN, REJECTED, Example, Frozen, PreferencePair, Reply, Split
from medpref.sources.place import Placed, place
from medpref.sources.problem import Problem, naming
from medpref.sources.row_regions import row_regions
from medpref.sources.rows import PLACEHOLDER, YES_NO, Row, iter_rows, read_row
from medpref.sources.splits import assign_split

Enrich = Callable[[Row, Path], Row]


@SOURCES.add
class Jsonl(Frozen):
    """The examples of one file. ``split: by_patient`` assigns splits (70/10/20) instead of reading them."""

    kind: Literal["jsonl"] = "jsonl"
    file: str = Field(min_length=1)
    split: Literal["given", "by_patient"] = "given"

    @property
    def synthetic(self) -> bool:
        """False: whose data these are is the user's knowledge."""
        return False

    def load(self, out: Path, *, seed: int, prefix: str) -> Iterator[Example]:
        """The examples, in the file's order; DataError names file, row and key of the first bad one."""
        return load_rows(Path(self.file), out, seed=seed, prefix=prefix, split=self.split)

    def pairs(self, examples: Sequence[Example]) -> Iterator[PreferencePair]:
        """The file's own preference pairs: its train rows that carry ``rejected``, weighted by ``weight``."""
        return row_pairs(Path(self.file), {example.id: example for example in examples})


def load_rows(
    path: Path, out: Path, *, seed: int, prefix: str, split: str, enrich: Enrich | None = None
) -> Iterator[Example]:
    """The examples of a file of rows; ``enrich`` may complete a row (it is given the row's first image file)."""
    if not path.is_file():
        raise DataError(str(path), given="no such file", expected="a JSONL or CSV file of rows", todo="check the path")
    for number, raw in iter_rows(path):
        where = f"{path}:{number}"
        if isinstance(raw, Problem):
            raise raw.error()
        row, problems = read_row(raw, where=where)
        if row is None or problems:
            raise problems[0].error()
        placed = []
        for name in row.files:
            with naming(f"{where}:{'image' if row.image else 'images'}"):
                placed.append(place(path.parent / name, out, prefix=prefix))
        row = row if enrich is None else enrich(row, path.parent / row.files[0])
        row = row if row.id is not None else row.model_copy(update={"id": f"{path.stem}-{number:06d}"})
        patient = row.patient or f"image:{placed[0].ref.sha256[:16]}"
        fields = _fields(row, placed, path.parent, where=where)
        fields["split"] = _split(row.split, patient, where=where, seed=seed, rule=split)
        with naming(f"{where}:counterfactual"):
            fields["counterfactual"] = tuple(
                place(path.parent / name, out, prefix=prefix).ref for name in row.counterfactual
            )
        yield Example(patient=patient, **fields)


def row_pairs(path: Path, examples: Mapping[str, Example]) -> Iterator[PreferencePair]:
    """The preference pairs of a file of rows whose examples are loaded, train split only."""
    for number, raw in iter_rows(path):
        row, _ = read_row(raw, where=f"{path}:{number}")
        example = examples.get((row.id or f"{path.stem}-{number:06d}") if row else "")
        if row is not None and row.rejected is not None and example is not None and example.split == "train":
            yield PreferencePair(
                id=f"{example.id}/own",
                example=example.id,
                patient=example.patient,
                question=example.question,
                views={CLEAN: example.images},
                replies={
                    CHOSEN: Reply(text=row.answer, author="source"),
                    REJECTED: Reply(text=row.rejected, author="source"),
                },
                weight=row.weight,
                kind="text",
                provenance={"source": "jsonl", "row": number},
            )


def _fields(row: Row, placed: Sequence[Placed], folder: Path, *, where: str) -> dict[str, Any]:
    """What a row says about its example, without patient, split and counterfactual."""
    choices = row.choices or (YES_NO if row.answer.strip().casefold() in YES_NO else ())
    answer_type = row.answer_type or ("closed" if choices else "open")
    same = ("id", "answer", "kind", "facts", "counterfactual_answer", "tags", "credentialed")
    return {
        **{key: getattr(row, key) for key in same},
        "images": tuple(image.ref for image in placed),
        "question": bare(row.question),
        "answer_type": answer_type,
        "choices": choices if answer_type == "closed" else (),
        "regions": row_regions(row, [(image.height, image.width) for image in placed], folder, where=where),
        "source": "jsonl",
    }


def _split(given: Split | None, patient: str, *, where: str, seed: int, rule: str) -> Split:
    if rule == "by_patient":
        return assign_split(patient, seed=seed)
    if given is None:
        todo = "give each row its split, or let the source assign them (split: by_patient)"
        raise DataError(f"{where}:split", given="no 'split'", expected="train, validation or test", todo=todo)
    return given


def bare(question: str) -> str:
    r"""The question without image placeholders.

    >>> bare("<image>\nIs there an effusion?")
    'Is there an effusion?'
    """
    return question.replace(PLACEHOLDER, "").strip()
