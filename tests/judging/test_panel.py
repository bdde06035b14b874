import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpref.errors import ModelError, RecipeError
from medpref.judging.chat import Chat
from medpref.judging.panel import Panel, consult, parse_score

from .cases import example

CASE = example("left")


def scripted(*texts: str):
    """An opinion that gives these texts in turn, and the scores it was shown."""
    waiting, shown = list(texts), []

    def opinion(case, reply, previous):
        shown.append(previous)
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return opinion, shown


def ask(members, **options):
    return consult(members, CASE, "right", **{"rounds": 5, "tolerance": 0.0, "retries": 2, **options})


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("0.8", 0.8),
        ("Score: 1", 1.0),
        ("I would say .5.", 0.5),
        ("0.8 (0.8)", 0.8),
        ("8", None),
        ("nan", None),
        ("0.2 to 0.4", None),
        ("", None),
        ("-0.1", None),
        ("1e-1", 0.1),
    ],
)
def test_a_score_is_the_only_number_in_range(text: str, score: float | None) -> None:
    assert parse_score(text) == score


def test_agreement_in_the_first_round() -> None:
    first, shown_first = scripted("0.6")
    second, shown_second = scripted("0.6")
    verdict = ask({"a": first, "b": second})
    assert verdict.value == 0.6
    assert verdict.reason == "agreed in round 1"
    assert (shown_first, shown_second) == ([None], [0.6])


def test_each_member_sees_the_score_before_its_own_until_they_agree() -> None:
    first, shown_first = scripted("0.2", "0.8")
    second, _ = scripted("0.8")
    verdict = ask({"a": first, "b": second})
    assert verdict.value == 0.8
    assert verdict.reason == "agreed in round 2"
    assert shown_first == [None, 0.8]
    assert verdict.evidence == {"round 1": "a 0.2, b 0.8", "round 2": "a 0.8, b 0.8"}


def test_without_agreement_the_mean_of_the_whole_history() -> None:
    first, shown = scripted("0.0", "0.1", "0.2", "0.3", "0.4")
    verdict = ask({"a": first, "b": scripted("1.0")[0]})
    # (0 + .1 + .2 + .3 + .4 + 5 * 1) / 10
    assert verdict.value == pytest.approx(0.6)
    assert len(shown) == 5
    assert "no agreement in 5 rounds" in verdict.reason


def test_within_the_tolerance_the_mean_of_the_round() -> None:
    verdict = ask({"a": scripted("0.6")[0], "b": scripted("0.7")[0]}, tolerance=0.11)
    assert verdict.value == pytest.approx(0.65)


def test_no_number_is_asked_for_again_and_then_not_judged() -> None:
    opinion, shown = scripted("well", "hm", "0.4")
    assert ask({"a": opinion}).value == 0.4
    assert len(shown) == 3
    silent, shown = scripted("I cannot say")
    verdict = ask({"a": silent})
    assert verdict.value is None
    assert "not judged" in verdict.reason
    assert len(shown) == 3


def test_a_silent_member_counts_for_nothing() -> None:
    assert ask({"a": scripted("no idea")[0], "b": scripted("0.7")[0]}).value == 0.7


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.floats(0, 1))
def test_the_verdict_lies_between_the_lowest_and_the_highest_score(scores: list[float], tolerance: float) -> None:
    members = {str(place): scripted(repr(score))[0] for place, score in enumerate(scores)}
    value = ask(members, tolerance=tolerance).value
    assert value is not None
    assert min(scores) - 1e-9 <= value <= max(scores) + 1e-9


def test_a_panel_of_judges() -> None:
    # relevance 0.9, token F1 0: no agreement, the same scores each round
    verdict = Panel(judges=("relevance", {"kind": "overlap"})).judge(example("left", kind="side"), "right")
    assert verdict.value == pytest.approx(0.45)


class Service(BaseHTTPRequestHandler):
    said = "0.7"
    seen: ClassVar[list[dict]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).seen.append(body)
        reply = json.dumps({"choices": [{"message": {"content": self.said}}]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def service():
    Service.seen = []
    server = HTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"openai:http://127.0.0.1:{server.server_port}/v1#judge"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_chat_model_is_asked_without_an_image(service: str) -> None:
    verdict = Chat(service=service).judge(example("left", question="Which {side}?"), "right")
    assert verdict.value == 0.7
    assert verdict.evidence["model"] == "judge"
    (body,) = Service.seen
    assert body["temperature"] == 0
    assert "Which {side}?" in body["messages"][0]["content"]
    panel = Panel(judges=({"kind": "chat", "service": service}, "relevance"), rounds=2)
    panel.judge(example("left", kind="side"), "right")
    assert "Another reader gave 0.9" in Service.seen[-1]["messages"][0]["content"]


def test_credentialed_text_goes_to_no_outside_service() -> None:
    case = example("left", credentialed=True)
    outside = "openai:https://judge.example.org/v1#m"
    with pytest.raises(RecipeError, match="credentialed data and an outside service"):
        Chat(service=outside).judge(case, "right")


def test_a_service_that_is_down_is_named() -> None:
    with pytest.raises(ModelError, match="start the service"):
        Chat(service="openai:http://127.0.0.1:9/v1#m", timeout_s=1).judge(CASE, "right")
