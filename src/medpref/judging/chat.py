"""A language model behind an OpenAI-compatible service as a judge of relevance. Text only: it never sees an image.

The service may be local (vLLM, llama.cpp, Ollama). Text of credentialed data is sent to no service that the recipe
does not declare to be the user's own (``mine: true``).
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Literal

from pydantic import Field

from medpref.errors import ModelError, RecipeError
from medpref.judging.panel import parse_score
from medpref.language.prompts import PREVIOUS, RELEVANCE
from medpref.registry import JUDGES
from medpref.schema import Example, Frozen, Verdict

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@JUDGES.add
class Chat(Frozen):
    """Relevance of a wrong reply in [0, 1] as a chat model gives it, at temperature 0.

    ``service``: ``openai:http://localhost:8000/v1#model``. The key, if one is needed, is read from the environment
    variable that ``key_variable`` names.
    """

    kind: Literal["chat"] = "chat"
    service: str = Field(pattern=r"^openai:https?://[^#\s]+#\S+$")
    mine: bool = Field(default=False, description="the service is the user's own: credentialed text may go there")
    key_variable: str = "OPENAI_API_KEY"
    timeout_s: float = Field(default=60.0, gt=0)
    retries: int = Field(default=2, ge=0)

    def judge(self, example: Example, reply: str) -> Verdict:
        evidence = {"model": self.service.partition("#")[2], "prompt": RELEVANCE.hash}
        said = ""
        for _ in range(self.retries + 1):
            said = self.opinion(example, reply, None)
            score = parse_score(said)
            if score is not None:
                return Verdict(score, "as the model says", evidence)
        return Verdict(None, f"not judged: no number in {said[:80]!r}", evidence)

    def opinion(self, example: Example, reply: str, previous: float | None) -> str:
        """What the model answers, having been told the score before (a panel's chain)."""
        self._may_send(example)
        before = PREVIOUS.replace("{score}", f"{previous:.4g}") if previous is not None else ""
        prompt = RELEVANCE.fill(question=example.question, answer=example.answer, reply=reply, previous=before)
        return self._complete(prompt)

    def _may_send(self, example: Example) -> None:
        host = urllib.parse.urlsplit(self.service.removeprefix("openai:").partition("#")[0]).hostname
        if example.credentialed and not self.mine and host not in LOCAL:
            raise RecipeError(
                f"judge {self.service}", given="credentialed data and an outside service",
                expected="a local service", todo="bind a local model, or set mine: true if the service is your own",
            )  # fmt: skip

    def _complete(self, prompt: str) -> str:
        base, _, model = self.service.removeprefix("openai:").partition("#")
        body = {"model": model, "temperature": 0, "messages": [{"role": "user", "content": prompt}], "max_tokens": 16}
        headers = {"Content-Type": "application/json"}
        key = os.environ.get(self.key_variable)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(f"{base}/chat/completions", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:
                said = json.load(answer)
            return str(said["choices"][0]["message"]["content"])
        except (urllib.error.URLError, TimeoutError, json.JSONDecodeError, KeyError, IndexError, TypeError) as error:
            given = f"{type(error).__name__}: {error}"
            todo = "start the service, or leave the judge out"
            raise ModelError(self.service, given=given, expected="a chat completion", todo=todo) from None
