"""The tiny tokenizer: any text comes back, the same training gives the same merges."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.models.tiny_shipped import LLAVA_TEMPLATE
from medpref.models.tokenizer import VOCABULARY_SIZE, build_tokenizer, tokenizer_text

TOKENIZER = build_tokenizer({"image_token": "<image>"}, LLAVA_TEMPLATE)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_round_trips(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert TOKENIZER.decode(ids) == text


@pytest.mark.parametrize("text", ["  two  spaces ", "3.14 cm x 2", "naïve Übung 肺 🫁", "a\tb\r\nc", "</s><image>"])
def test_awkward_texts_round_trip(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_training_twice_gives_the_same_vocabulary() -> None:
    again = build_tokenizer({"image_token": "<image>"}, LLAVA_TEMPLATE)
    assert again.get_vocab() == TOKENIZER.get_vocab()
    assert again.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()


def test_size_digits_and_special_tokens() -> None:
    assert len(TOKENIZER) == VOCABULARY_SIZE
    assert len(TOKENIZER("1024", add_special_tokens=False)["input_ids"]) == 4
    specials = [TOKENIZER.pad_token_id, TOKENIZER.bos_token_id, TOKENIZER.eos_token_id]
    assert specials == [0, 1, 2]
    assert TOKENIZER.convert_tokens_to_ids("<image>") == TOKENIZER.image_token_id == 3


def test_clinical_sentences_are_short() -> None:
    sentences = list(dict.fromkeys(tokenizer_text()))
    assert len(sentences) > 1000
    text = "There is a small pleural effusion on the left."
    assert len(TOKENIZER(text, add_special_tokens=False)["input_ids"]) <= 12
