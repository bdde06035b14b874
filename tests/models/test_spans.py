"""Character spans on canonical tokens, for the tokenizer of every family; and what tags inside the text would do.

The oracle reads no offsets: it lays the tokens' own bytes end to end.
"""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from medpref.models.families import FAMILIES
from medpref.models.turn import Turn, read_turn, tokenise_reply
from medpref.schema import Span

from .family_tokenizers import MADE, made
from .test_turn import _symbols

BYTE = re.compile(r"<0x([0-9A-F]{2})>")
SYMBOLS = {symbol: byte for byte, symbol in _symbols().items()}
WORDS = (
    "Yes",
    " small",
    " nodule",
    " left",
    ",",
    ".",
    " ",
    "  ",
    "\n",
    "肺",
    "é",
    "🫁",
    " 12",
    "effusion",
    "-",
    "T2",
    "No",
)
TEXT = "There is a small nodule."
SMALL = Span(start=TEXT.index("small"), end=TEXT.index(" nodule"))


def bytes_of(tokenizer: PreTrainedTokenizerFast, token: int) -> bytes:
    """What a token stands for, by its own name in the vocabulary."""
    piece = str(tokenizer.convert_ids_to_tokens(token))
    if "ByteLevel" in type(tokenizer.backend_tokenizer.decoder).__name__:
        return bytes(SYMBOLS[symbol] for symbol in piece)
    found = BYTE.fullmatch(piece)
    return bytes([int(found[1], 16)]) if found else piece.replace("▁", " ").encode()


def overlapping(
    tokenizer: PreTrainedTokenizerFast, turn: Turn, ids: list[int], text: str, spans: list[Span]
) -> list[bool]:
    """Which tokens overlap a span: their bytes laid end to end must be the reply, after its lead or a space before."""
    parts = [bytes_of(tokenizer, token) for token in ids]
    whole, expected = b"".join(parts), text.encode()
    assert whole.endswith(expected)
    extra = whole[: len(whole) - len(expected)].decode()
    assert extra in {turn.lead, turn.lead + " ", ""}
    owner = [-1] * len(extra) + [index for index, character in enumerate(text) for _ in character.encode()]
    marks, at = [], 0
    for part in parts:
        mine = set(owner[at : at + len(part)])
        marks.append(any(span.start <= index < span.end for index in mine for span in spans))
        at += len(part)
    return marks


@st.composite
def replies(draw: st.DrawFn) -> tuple[str, list[Span]]:
    text = "".join(draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=10).filter(lambda w: "".join(w).strip())))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=6, unique=True)))
    return text, [Span(start=a, end=b) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]


@pytest.fixture(params=sorted(MADE))
def family(request: pytest.FixtureRequest) -> tuple[PreTrainedTokenizerFast, Turn]:
    tokenizer, template = made(request.param)
    return tokenizer, read_turn(tokenizer, template, where=request.param)


def test_every_family_has_its_tokenizer_here() -> None:
    assert {kind for kind, _, _ in MADE.values()} == {kind for one in FAMILIES for kind in one.model_types}


@pytest.mark.parametrize("name", sorted(MADE))
def test_marked_tokens_are_those_that_overlap(name: str) -> None:
    tokenizer, template = made(name)
    turn = read_turn(tokenizer, template, where=name)

    @given(replies())
    @settings(max_examples=40, deadline=None)
    def check(drawn: tuple[str, list[Span]]) -> None:
        text, spans = drawn
        ids, marks = tokenise_reply(tokenizer, turn, text, spans)
        assert ids == tokenise_reply(tokenizer, turn, text)[0], "spans change no token"
        assert marks == [*overlapping(tokenizer, turn, ids[:-1], text, spans), False]
        assert ids[-1] == turn.end

    check()


def canonical(tokenizer: PreTrainedTokenizerFast, turn: Turn, text: str) -> list[int]:
    """The reply's part of the whole conversation's tokens, by cutting off the prompt's."""
    prompt = "medprefquestion" + turn.context
    before, whole = (
        tokenizer(part, add_special_tokens=False)["input_ids"] for part in (prompt, prompt + turn.lead + text)
    )
    assert whole[: len(before)] == before
    return list(whole[len(before) :])


def cut_at_tags(tokenizer: PreTrainedTokenizerFast, text: str, span: Span) -> list[int]:
    """The defect: the text cut where tags stood, and each part tokenised by itself."""
    parts = (text[: span.start], text[span.start : span.end], text[span.end :])
    return [token for part in parts if part for token in tokenizer(part, add_special_tokens=False)["input_ids"]]


def lone_spaces(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> int:
    return sum(bytes_of(tokenizer, token) == b" " for token in ids)


def test_a_marked_word_keeps_its_space_and_tags_would_tear_it_off(family: tuple[PreTrainedTokenizerFast, Turn]) -> None:
    tokenizer, turn = family
    ids, marks = tokenise_reply(tokenizer, turn, TEXT, [SMALL])
    assert ids[:-1] == canonical(tokenizer, turn, TEXT)
    said = b"".join(bytes_of(tokenizer, token) for token, mark in zip(ids, marks, strict=True) if mark).decode()
    assert said.strip() == "small"
    assert lone_spaces(tokenizer, ids[:-1]) == 0
    torn = cut_at_tags(tokenizer, TEXT, SMALL)
    assert torn != ids[:-1]
    assert lone_spaces(tokenizer, torn) > 0 or len(torn) > len(ids[:-1])


@pytest.mark.parametrize("place", [TEXT.index(" small"), TEXT.index(" nodule")])
def test_a_span_of_one_space_marks_the_token_that_carries_it(
    place: int, family: tuple[PreTrainedTokenizerFast, Turn]
) -> None:
    tokenizer, turn = family
    ids, marks = tokenise_reply(tokenizer, turn, TEXT, [Span(start=place, end=place + 1)])
    (token,) = [token for token, mark in zip(ids, marks, strict=True) if mark]
    assert bytes_of(tokenizer, token).startswith(b" ")
    assert TEXT[place:].encode().startswith(bytes_of(tokenizer, token))


def test_letters_in_two_characters_leave_the_later_spans_in_place(family: tuple[PreTrainedTokenizerFast, Turn]) -> None:
    """Qwen's tokenizer composes them first, so that its tokens are of a shorter text."""
    tokenizer, turn = family
    text = unicodedata.normalize("NFD", "Café-au-lait, naïve: a small nodule.")
    start = text.index("small")
    ids, marks = tokenise_reply(tokenizer, turn, text, [Span(start=start, end=start + 5)])
    said = b"".join(bytes_of(tokenizer, token) for token, mark in zip(ids, marks, strict=True) if mark).decode()
    assert said.strip() == "small"
    whole = text.index("i\N{COMBINING DIAERESIS}")
    _, marks = tokenise_reply(tokenizer, turn, text, [Span(start=whole + 1, end=whole + 2)])
    assert 1 <= sum(marks) <= 3
