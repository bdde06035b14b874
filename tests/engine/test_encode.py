"""Pairs as tokens: branches that are absent stay absent, and errors name the pair."""

from __future__ import annotations

import pytest

from medpref.engine.encode import encode_pair, required_branches
from medpref.engine.images import ImageStore
from medpref.errors import DataError
from medpref.objectives.scores import Needs
from medpref.schema import Branch, Reply, Span

from .plain import CC, CR, XC, XR, tiny_policy


@pytest.fixture(scope="module")
def policy():
    return tiny_policy("qwen2_5_vl", "float32")


def test_absent_branches_are_absent(policy, root, pairs):
    needs = Needs(branches=frozenset({CC, CR}), cross=frozenset({(XC, XR)}))
    assert required_branches(needs) == (CC, CR, XC, XR)
    store = ImageStore(policy)
    present = [set(encode_pair(policy, pair, root, needs, store).branches) for pair in pairs]
    assert present == [{CC, CR, XC, XR}, {CC, CR, XC, XR}, {CC, CR}, {CC, CR}, {CC}]


def test_tokens_and_positions(policy, root, pairs):
    store = ImageStore(policy)
    line = encode_pair(policy, pairs[1], root, [CC], store).branches[CC]
    assert policy.decode(line.reply_ids) == "Yes, in the left lung."
    assert line.read == line.prompt + line.reply_ids[:-1]
    assert len(line.positions) == 3
    assert all(len(axis) == len(line.prompt) for axis in line.positions)
    assert line.spans[0] is True
    assert line.spans[-1] is False
    corrupt = encode_pair(policy, pairs[1], root, [XC], store).branches[XC]
    assert corrupt.images != line.images
    assert corrupt.key != line.key


def test_nothing_to_read_is_an_error(policy, root, pairs):
    with pytest.raises(DataError, match=r"pair 'p4'.*one of the branches clean/rejected"):
        encode_pair(policy, pairs[4], root, [CR], ImageStore(policy))


def test_errors_name_the_pair_and_the_branch(policy, root, pairs):
    reply = Reply(text="Yes  ", spans=(Span(start=4, end=5),))
    odd = pairs[0].model_copy(update={"replies": {"chosen": reply}, "question": "What is <|im_start|>?"})
    with pytest.raises(DataError, match=r"^pair 'p0', branch clean/chosen: "):
        encode_pair(policy, odd, root, [Branch("clean", "chosen")], ImageStore(policy))
