from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.language.diff import changes, edit_share, outside, spans, split_words, words

WORDS = st.lists(st.sampled_from(["no", "left", "right", "effusion", "small", "is", ".", ","]), max_size=12)
TEXTS = WORDS.map(" ".join)
BOUNDED = settings(max_examples=150, deadline=None)


def cut(text: str, marked: tuple) -> list[str]:
    return [text[span.start : span.end] for span in marked]


def test_one_exchanged_word_is_one_span_of_that_word() -> None:
    ours, theirs = spans("There is a small left pleural effusion.", "There is a small right pleural effusion.")
    assert cut("There is a small left pleural effusion.", ours) == ["left"]
    assert cut("There is a small right pleural effusion.", theirs) == ["right"]


def test_an_insertion_has_a_span_on_one_side_only() -> None:
    ours, theirs = spans("There is effusion", "There is no effusion")
    assert ours == ()
    assert cut("There is no effusion", theirs) == ["no"]


def test_hyphens_slashes_and_abbreviations_are_one_word() -> None:
    assert split_words("T2-weighted X-ray w/contrast, L2-3.") == [
        "T2-weighted",
        "X-ray",
        "w/contrast",
        ",",
        "L2-3",
        ".",
    ]


@BOUNDED
@given(TEXTS, TEXTS)
def test_outside_the_spans_both_texts_have_the_same_words(a: str, b: str) -> None:
    ours, theirs = spans(a, b)
    assert outside(a, ours) == outside(b, theirs)


@BOUNDED
@given(WORDS, WORDS)
def test_changes_rebuild_the_second_text_from_the_first(a: list[str], b: list[str]) -> None:
    built, place = [], 0
    for change in changes(a, b):
        built += a[place : change.a_start] + b[change.b_start : change.b_end]
        place = change.a_end
    assert built + a[place:] == b


@BOUNDED
@given(TEXTS)
def test_equal_texts_have_no_spans_and_spans_lie_on_words(text: str) -> None:
    assert spans(text, text) == ((), ())
    ours, _ = spans(text, "entirely other words here")
    edges = {edge for word in words(text) for edge in word}
    assert all(span.start in edges and span.end in edges for span in ours)


@BOUNDED
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=10), st.integers(0, 9))
def test_a_single_replacement_is_found_wherever_it_is_even_among_repeats(text: list[str], place: int) -> None:
    place %= len(text)
    other = [*text[:place], "X", *text[place + 1 :]]
    assert [(c.a_start, c.a_end, c.b_start, c.b_end) for c in changes(text, other)] == [(place, place + 1) * 2]


def test_edit_share_by_hand() -> None:
    # three of four words shared: 1 - 2*3/8
    assert edit_share("a b c d", "a b x d") == 0.25
    assert edit_share("a", "a") == 0
    assert edit_share("a", "b") == 1
