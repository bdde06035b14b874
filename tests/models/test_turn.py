"""What stands around a reply, and which tokens a span touches."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from medpref.errors import DataError, ModelError
from medpref.models.tiny_shipped import LLAVA_TEMPLATE, QWEN_TEMPLATE, QWEN_TOKENS
from medpref.models.tokenizer import build_tokenizer, tokenizer_text
from medpref.models.turn import Turn, read_turn, tokenise_reply
from medpref.schema import Span

BYTES = build_tokenizer({"image_token": "<image>"}, LLAVA_TEMPLATE)
CHAT = build_tokenizer(QWEN_TOKENS, QWEN_TEMPLATE)
VICUNA = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "USER: <image>\n{{ message['content'][-1]['text'] }} "
    "{% else %}ASSISTANT: {{ message['content'][-1]['text'] }} {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def metaspace() -> PreTrainedTokenizerFast:
    """A tokenizer that marks word starts, as LLaMA's does: ``Yes`` after a space is one token with its space."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", "<s>", "</s>", "<image>"], show_progress=False
    )
    tokenizer.train_from_iterator((f"USER: x ASSISTANT: {line}" for line in tokenizer_text()), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def overlapping(ids: list[int], spans: list[Span], text: str) -> list[bool]:
    """The oracle: each token's bytes, laid end to end, against the spans' bytes widened to whole characters."""
    table = {symbol: byte for byte, symbol in _symbols().items()}
    owner = [index for index, character in enumerate(text) for _ in character.encode()]
    marks, at = [], 0
    for token in ids:
        size = sum(1 for symbol in str(BYTES.convert_ids_to_tokens(token)) if symbol in table)
        mine = set(owner[at : at + size])
        marks.append(any(span.start <= index < span.end for index in mine for span in spans))
        at += size
    assert at == len(owner)
    return marks


def _symbols() -> dict[int, str]:
    """GPT-2's byte-to-symbol table: printable bytes stand for themselves, the others follow from 256."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


@st.composite
def texts_with_spans(draw: st.DrawFn) -> tuple[str, list[Span]]:
    words = st.sampled_from(
        ["Yes", " small", " nodule", " left", ".", " ", "\n", "肺", "é", "🫁", "12", "effusion", "-"]
    )
    text = "".join(draw(st.lists(words, min_size=1, max_size=12))) + draw(st.text(max_size=4))
    cuts = draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=4, unique=True).filter(lambda c: len(c) > 1))
    cuts = sorted(cuts)[: len(cuts) // 2 * 2]
    return text, [Span(start=a, end=b) for a, b in zip(cuts[::2], cuts[1::2], strict=True)]


@given(texts_with_spans())
@settings(max_examples=200, deadline=None)
def test_marked_tokens_are_those_that_overlap(drawn: tuple[str, list[Span]]) -> None:
    text, spans = drawn
    ids, marks = tokenise_reply(BYTES, read_turn(BYTES, LLAVA_TEMPLATE, where="test"), text, spans)
    assert marks == [*overlapping(ids[:-1], spans, text), False]
    assert BYTES.decode(ids[:-1]) == text


def test_spans_by_hand() -> None:
    turn = read_turn(CHAT, QWEN_TEMPLATE, where="test")
    text = "Yes, a small nodule."
    ids, marks = tokenise_reply(CHAT, turn, text, [Span(start=7, end=12)])
    assert [CHAT.decode([token]) for token in ids] == ["Yes", ",", " a", " small", " nodule", ".", "<|im_end|>"]
    assert marks == [False, False, False, True, False, False, False]
    assert tokenise_reply(CHAT, turn, text)[1] == [False] * 7


def test_a_span_of_one_space_marks_the_word_that_carries_it() -> None:
    for tokenizer, template in ((BYTES, LLAVA_TEMPLATE), (metaspace(), VICUNA)):
        turn = read_turn(tokenizer, template, where="test")
        ids, marks = tokenise_reply(tokenizer, turn, "a small nodule", [Span(start=7, end=8)])
        assert [tokenizer.decode([t]).strip() for t, mark in zip(ids, marks, strict=True) if mark] == ["nodule"]


def test_template_decides_the_end_token() -> None:
    assert read_turn(BYTES, LLAVA_TEMPLATE, where="test") == Turn("\nASSISTANT:\n", "", BYTES.eos_token_id)
    chat = read_turn(CHAT, QWEN_TEMPLATE, where="test")
    assert chat.end == CHAT.convert_tokens_to_ids("<|im_end|>") != CHAT.eos_token_id


def test_reply_is_tokenised_as_it_stands_after_the_prompt() -> None:
    tokenizer = metaspace()
    turn = read_turn(tokenizer, VICUNA, where="test")
    assert turn.lead == " "
    assert turn.end == tokenizer.eos_token_id
    prompt = tokenizer("USER: medprefquestion ASSISTANT:", add_special_tokens=False)["input_ids"]
    whole = tokenizer("USER: medprefquestion ASSISTANT: Yes", add_special_tokens=False)["input_ids"]
    ids, marks = tokenise_reply(tokenizer, turn, "Yes", [Span(start=0, end=3)])
    assert ids == [*whole[len(prompt) :], tokenizer.eos_token_id]
    assert marks == [True] * (len(ids) - 1) + [False]
    assert tokenizer.convert_tokens_to_ids("▁") not in ids, "a lone space before the reply"


def test_where_the_boundary_merges_the_reply_is_tokenised_alone() -> None:
    turn = Turn(context="nodu", lead="", end=2)
    ids, marks = tokenise_reply(BYTES, turn, "les", [Span(start=0, end=1)])
    assert ids == [*BYTES("les", add_special_tokens=False)["input_ids"], 2]
    assert marks[0]
    assert not marks[-1]


def test_special_token_text_in_a_reply_stays_text() -> None:
    turn = read_turn(BYTES, LLAVA_TEMPLATE, where="test")
    ids, _ = tokenise_reply(BYTES, turn, "an </s> and <image>")
    assert ids.count(BYTES.eos_token_id) == 1
    assert BYTES.image_token_id not in ids
    assert BYTES.decode(ids[:-1]) == "an </s> and <image>"


def test_span_beyond_the_text_is_an_error() -> None:
    turn = read_turn(BYTES, LLAVA_TEMPLATE, where="test")
    with pytest.raises(DataError, match=r"span \[9, 12\) meets no token"):
        tokenise_reply(BYTES, turn, "No.", [Span(start=9, end=12)])


def test_no_template_is_an_error() -> None:
    with pytest.raises(ModelError, match="no chat template"):
        read_turn(BYTES, None, where="test")


def test_a_template_that_fails_is_an_error() -> None:
    strings_only = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}{% endfor %}"
    with pytest.raises(ModelError, match="a chat template that fails"):
        read_turn(BYTES, strings_only, where="test")
