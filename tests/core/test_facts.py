"""A fact of the whole study is written as it always was; one of a single image says which."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from medpref import store
from medpref.schema import Fact

WRITTEN = (
    '{"count":null,"finding":"nodule","present":true,"severity":null,"side":"left","sign":null,"size":null,"zone":null}'
)


def test_the_image_is_written_where_it_is_said_and_read_back() -> None:
    plain, second = Fact(finding="nodule", side="left"), Fact(finding="nodule", side="left", image=1)
    assert store.to_json(plain) == WRITTEN
    assert store.to_json({"facts": [plain]}) == '{"facts":[' + WRITTEN + "]}"
    assert store.to_json(second) == WRITTEN.replace('"present"', '"image":1,"present"')
    assert plain != second
    for fact in (plain, second):
        assert Fact.model_validate_json(fact.model_dump_json()) == fact
        assert Fact.model_validate(fact.model_dump()) == fact
    with pytest.raises(ValidationError, match="image"):
        Fact(finding="nodule", image=-1)
