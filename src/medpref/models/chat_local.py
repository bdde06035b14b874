"""A text model of the Hugging Face kind on this machine, batched; its text is read as JSON and checked."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import Field

from medpref.errors import ModelError
from medpref.models.chat import ChatAnswer, ChatRequest, Keep, Usage
from medpref.models.chat_form import Message, ask_again, read_form
from medpref.models.fingerprint import fingerprint
from medpref.schema import Frozen
from medpref.seeds import derive_seed


class Local(Frozen):
    """A checkpoint that ``AutoModelForCausalLM`` reads (safetensors only). Greedy unless a request has a temperature.

    Nothing forces the form while it writes: an answer out of form is asked for again ``repeats`` times.
    """

    kind: Literal["local"] = "local"
    model: str = Field(min_length=1)
    batch: int = Field(default=8, ge=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "cpu"
    repeats: int = Field(default=1, ge=0, le=10)
    max_tokens: int | None = Field(default=None, ge=1, description="instead of what each question allows")

    @functools.cached_property
    def identity(self) -> str:
        longest = f"~{self.max_tokens}" if self.max_tokens else ""
        return f"local:{self.model}~{fingerprint(self.model)[:8]}{longest}"

    @property
    def outside(self) -> bool:
        return False

    def ask(self, requests: Sequence[ChatRequest], keep: Keep | None = None) -> Iterator[ChatAnswer]:
        """Answers batch by batch, questions of like length together; a question with a temperature runs alone."""
        if not requests:
            return
        writer = load_writer(self.model, self.dtype, self.device)
        order = sorted(range(len(requests)), key=lambda place: len(requests[place].prompt))
        drawn = [[place] for place in order if requests[place].temperature > 0]
        greedy = [place for place in order if requests[place].temperature == 0]
        batches = [greedy[start : start + self.batch] for start in range(0, len(greedy), self.batch)]
        for places in [*batches, *drawn]:
            for answer in self._answers(writer, places, requests):
                if keep is not None:
                    keep(answer)
                yield answer

    def _answers(self, writer: Writer, places: list[int], requests: Sequence[ChatRequest]) -> Iterator[ChatAnswer]:
        spent = dict.fromkeys(places, Usage())
        told = {place: [{"role": "user", "content": requests[place].prompt}] for place in places}
        for repeat in range(self.repeats + 1):
            longest = self.max_tokens or max(requests[place].max_tokens for place in told)
            draw = requests[next(iter(told))]
            texts = writer.write(list(told.values()), max_tokens=longest, draw=draw, repeat=repeat)
            for place, (text, usage) in zip(list(told), texts, strict=True):
                spent[place] = spent[place].plus(usage)
                value, reason = read_form(text, requests[place].form)
                if value is not None or repeat == self.repeats:
                    told.pop(place)
                    full = reason and f"not answered in {repeat + 1} attempts: {reason}"
                    yield ChatAnswer(place, value, full, text, self.identity, spent[place])
                else:
                    told[place] = ask_again(told[place], text, reason)
            if not told:
                return


class Writer:
    """A loaded model and tokenizer."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    def write(
        self, conversations: Sequence[list[Message]], *, max_tokens: int, draw: ChatRequest, repeat: int
    ) -> list[tuple[str, Usage]]:
        """The texts that follow the conversations, with the tokens read and written; a temperature is ``draw``'s."""
        import torch

        begins = self.tokenizer.chat_template is not None
        prompts = [self._prompt(messages) for messages in conversations]
        batch = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=not begins)
        batch = {name: batch[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
        options: dict[str, Any] = {"do_sample": False}
        if draw.temperature > 0:
            options = {"do_sample": True, "temperature": draw.temperature}
            torch.manual_seed(derive_seed(0, "chat", draw.key, str(repeat)))
        with torch.no_grad():
            made = self.model.generate(
                **batch, max_new_tokens=max_tokens, pad_token_id=self.tokenizer.pad_token_id, **options
            )
        written = made[:, batch["input_ids"].shape[1] :]
        return [self._read(row, mask) for row, mask in zip(written, batch["attention_mask"], strict=True)]

    def _prompt(self, messages: list[Message]) -> str:
        if self.tokenizer.chat_template is None:
            return "\n".join(message["content"] for message in messages) + "\n"
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _read(self, row: Any, mask: Any) -> tuple[str, Usage]:
        text = str(self.tokenizer.decode(row, skip_special_tokens=True))
        count = int((row != self.tokenizer.pad_token_id).sum())
        return text, Usage(int(mask.sum()), count, None, 1)


@functools.lru_cache(maxsize=2)
def load_writer(model: str, dtype: str, device: str) -> Writer:
    """The model, loaded once a process; ModelError where it cannot be."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from medpref.models.quiet import quiet

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(model)
            loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, ImportError) as error:
        given = str(error).strip().splitlines()[0]
        todo = "check the folder or the id (a text model with safetensors)"
        raise ModelError(f"--judge local:{model}", given=given, expected="a causal language model", todo=todo) from None
    return Writer(loaded.to(device).eval(), tokenizer)
