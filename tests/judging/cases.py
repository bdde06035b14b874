"""One example of each sort, for the judges."""

from typing import Any

from medpref.schema import Example, ImageRef

IMAGE = ImageRef(path="examples/blobs/a.png", sha256="a" * 64)


def example(answer: str, *, question: str = "What is seen?", kind: str = "other", **fields: Any) -> Example:
    return Example(
        id="e", patient="p", images=(IMAGE,), question=question, answer=answer, split="train", kind=kind, **fields
    )


def closed(answer: str, *choices: str, question: str = "Is there an effusion?", kind: str = "presence") -> Example:
    return example(answer, question=question, kind=kind, answer_type="closed", choices=choices or ("yes", "no"))


def report(answer: str) -> Example:
    return example(answer, question="Describe the findings.", kind="report", answer_type="report")
