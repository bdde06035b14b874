"""Any OpenAI-compatible service (vLLM, llama.cpp, Ollama, a company's) through the openai SDK. No torch.

Knows: concurrency, and when questions may not be sent at all. One call and its retries are in ``chat_call``.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, Literal

from pydantic import Field

from medpref import store
from medpref.errors import ModelError, RecipeError
from medpref.models.chat import ChatAnswer, ChatRequest, Keep
from medpref.schema import Frozen

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Service(Frozen):
    """A model behind ``url`` (its ``/v1``). The key, if one is needed, is read from the environment variable.

    ``structured`` is how the form is demanded besides in the prompt; ``extra`` fields are sent with every call and
    ``omit`` names those not to send. Prices are in USD per million tokens. ``mine``: the service is the user's own.
    """

    kind: Literal["openai"] = "openai"
    url: str = Field(pattern=r"^https?://[^#@\s]+$")
    model: str = Field(min_length=1)
    mine: bool = False
    concurrency: int = Field(default=16, ge=1, le=256)
    timeout_s: float = Field(default=120.0, gt=0)
    tries: int = Field(default=8, ge=1, le=20, description="calls that fail on the way, before a question is given up")
    repeats: int = Field(default=2, ge=0, le=10, description="times a refusal or an answer out of form is asked again")
    backoff_s: float = Field(default=0.5, ge=0)
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    extra: Mapping[str, Any] = Field(default_factory=dict)
    omit: tuple[str, ...] = ()
    price_in: float | None = Field(default=None, ge=0)
    price_out: float | None = Field(default=None, ge=0)
    key_variable: str = "OPENAI_API_KEY"

    @property
    def identity(self) -> str:
        told = {key: getattr(self, key) for key in ("structured", "extra", "omit")}
        usual = {"structured": "json_schema", "extra": {}, "omit": ()}
        return f"openai:{self.url}#{self.model}" + ("" if told == usual else f"~{store.digest(told)[:8]}")

    @property
    def outside(self) -> bool:
        return not (self.mine or self.loopback)

    @property
    def loopback(self) -> bool:
        """Whether the service runs on this machine."""
        return urllib.parse.urlsplit(self.url).hostname in LOOPBACK

    def ask(self, requests: Sequence[ChatRequest], keep: Keep | None = None) -> Iterator[ChatAnswer]:
        """Answers as they come, ``concurrency`` questions at a time; ModelError where the service cannot be used.

        Whatever ends it, calls under way are finished and kept: what was paid for is not lost.
        """
        if self.outside and any(request.credentialed for request in requests):
            raise RecipeError(
                f"--judge {self.identity}", given="credentialed data and an outside service",
                expected="a local model, or a service of your own", todo="say --service-is-mine if it is yours",
            )  # fmt: skip
        if not requests:
            return
        with self.client() as client:
            from medpref.models.chat_call import Caller

            caller = Caller(self, client, keep)
            pool = ThreadPoolExecutor(min(self.concurrency, len(requests)), thread_name_prefix="chat")
            try:
                flying = [pool.submit(caller.answer, place, request) for place, request in enumerate(requests)]
                yield from _landed(flying)
            finally:
                caller.gate.stopped.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def client(self) -> Any:
        """An SDK client that follows no redirect to another host and, on this machine, uses no proxy."""
        try:
            import openai
        except ImportError:
            given, todo = "the package openai is not installed", "pip install 'medpref[judge]'"
            raise ModelError(f"--judge {self.identity}", given=given, expected="its SDK", todo=todo) from None
        http = openai.DefaultHttpxClient(trust_env=not self.loopback, follow_redirects=False, timeout=self.timeout_s)
        return openai.OpenAI(
            base_url=self.url,
            api_key=os.environ.get(self.key_variable) or "none",
            max_retries=0,
            timeout=self.timeout_s,
            http_client=http,
        )


def _landed(flying: Sequence[Future[ChatAnswer]]) -> Iterator[ChatAnswer]:
    for done in as_completed(flying):
        yield done.result()
