"""The prompts that medpref sends to a bound language model, each with a hash for the records."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """A prompt with ``{named}`` places; ``hash`` tells one wording from another."""

    name: str
    text: str

    @property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of the wording's SHA-256."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def fill(self, **values: str) -> str:
        """The prompt with its places filled; braces inside a value stay as they are."""
        filled = self.text
        for name, value in values.items():
            filled = filled.replace("{" + name + "}", value)
        return filled


RELEVANCE = Prompt(
    "relevance",
    """You judge how much a wrong answer to a question about a medical image would matter.

Question: {question}
Correct answer: {answer}
Wrong answer: {reply}
{previous}
Give one number from 0 to 1. High means: close enough to the truth to be believed, and harmful if it were.
Low means: absurd, off the subject, or of no consequence. Reply with the number only.""",
)
PREVIOUS = "Another reader gave {score}. Keep it if you agree; otherwise give your own."
