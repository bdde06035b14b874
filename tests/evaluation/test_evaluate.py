import dataclasses
import json

import pytest

from medpref import store
from medpref.evaluation.compare import compare
from medpref.evaluation.estimate import estimates
from medpref.evaluation.evaluate import Plan, carry_out, chunks
from medpref.schema import OwnReply, Verdict, VerdictRow
from tests.evaluation.studies import Blind, Seer, studies


class Killed(BaseException):
    """What a signal does to a stage."""


def plan_of(root, name="seer", *, patients=40):
    out = root / "eval" / f"{name}.partial"
    out.mkdir(parents=True)
    test = tuple(studies(root, patients))
    return Plan(test, tuple(studies(root, 10, split="train", first=500)), out, root, seed=0, synthetic=True)


def run(root, model, name, **rest):
    plan = plan_of(root, name, **rest)
    counts = carry_out(plan, answer=model.answer, read=model.read)
    return plan, counts


def files(plan):
    return {path.name: path.read_bytes() for path in sorted(plan.out.iterdir())}


def test_files_and_identity_of_estimates(tmp_path):
    plan, counts = run(tmp_path, Seer(tmp_path), "seer")
    assert set(files(plan)) == {"replies.jsonl", "verdicts.jsonl", "estimates.json"}
    rows = store.read_lines(plan.out / "verdicts.jsonl", VerdictRow)
    held = store.read_json(plan.out / "estimates.json")
    assert json.loads(json.dumps(estimates(rows, seed=0))) == held["estimates"]
    assert (held["model"], held["synthetic"]) == ("seer", True)
    replies = store.read_lines(plan.out / "replies.jsonl", OwnReply)
    assert [reply.example for reply in replies] == [example.id for example in plan.examples]
    assert counts == {"questions": 100, "verdicts": len(rows), "estimates": len(held["estimates"])}
    assert any(alarm["name"] == "synthetic" and "clinical" in alarm["text"] for alarm in held["alarms"])


def test_estimates_do_not_depend_on_the_order_of_slices_but_name_them(tmp_path):
    plan, _ = run(tmp_path, Seer(tmp_path), "seer", patients=12)
    found = {
        (row["metric"], row["kind"], row["slice"]): row
        for row in store.read_json(plan.out / "estimates.json")["estimates"]
    }
    assert found["closed_accuracy", "all", "all"]["value"] == 1.0
    assert found["closed_accuracy", "presence", "all"]["items"] == 12
    assert found["closed_accuracy", "all", "shortcut=broken"]["clusters"] == 4
    assert found["open_exact", "side", "all"]["value"] == 0.5
    assert found["gain_over_constant", "presence", "all"]["value"] == 0.5
    assert found["finding_recall_present", "report", "all"]["value"] == 1.0
    assert ("closed_accuracy", "side", "all") not in found


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_killed_run_ends_with_the_same_bytes(tmp_path, after):
    whole, _ = run(tmp_path, Seer(tmp_path), "whole")
    torn = plan_of(tmp_path, "torn")
    model, calls = Seer(tmp_path), []

    def mortal(work):
        def inner(chunk):
            if len(calls) == after:
                raise Killed
            calls.append(len(chunk))
            return work(chunk)

        return inner

    with pytest.raises(Killed):
        carry_out(torn, answer=mortal(model.answer), read=mortal(model.read))
    with open(torn.out / "journal.jsonl", "a") as journal:
        journal.write('{"key": "replies/half of a li')
    again = Seer(tmp_path)
    carry_out(torn, answer=again.answer, read=again.read)
    assert again.calls == 2 * len(chunks(torn.examples)) - after, "no chunk is computed twice"
    before, now = files(whole), files(torn)
    assert before["verdicts.jsonl"] == now["verdicts.jsonl"]
    assert before["replies.jsonl"] == now["replies.jsonl"]
    assert json.loads(now["estimates.json"])["estimates"] == json.loads(before["estimates.json"])["estimates"]


def test_chunks_are_fixed_whatever_the_order(tmp_path):
    examples = studies(tmp_path, 30)
    assert chunks(examples) == chunks(examples[::-1])
    assert sorted(one.id for chunk in chunks(examples) for one in chunk) == sorted(one.id for one in examples)


def test_compare_is_paired_signed_and_corrected(tmp_path):
    rows = {}
    for name, model in (("seer", Seer(tmp_path)), ("blind", Blind(tmp_path))):
        plan, _ = run(tmp_path, model, name)
        rows[name] = store.read_lines(plan.out / "verdicts.jsonl", VerdictRow)
    found = {row["metric"]: row for row in compare(rows["seer"], rows["blind"], seed=0)}
    closed = found["closed_accuracy"]
    assert (closed["difference"], closed["items"], closed["clusters"]) == (0.5, 40, 40)
    assert closed["low"] > 0
    assert closed["p"] < 0.001 <= closed["p_holm"] < 0.05
    assert found["grounding_drop"]["difference"] == pytest.approx(2.9)
    assert found["closed_accuracy@shortcut=broken"]["items"] == 14
    back = {row["metric"]: row for row in compare(rows["blind"], rows["seer"], seed=0)}
    assert back["closed_accuracy"]["difference"] == -0.5
    same = compare(rows["seer"], rows["seer"], seed=0)
    assert all((row["difference"], row["p"]) == (0.0, 1.0) for row in same)


def test_compare_leaves_out_what_only_one_model_has(tmp_path):
    def rows(values):
        return [
            VerdictRow(
                example=str(i), patient=f"p{i}", metric="closed_accuracy", value=value, evidence={"answer": "yes"}
            )
            for i, value in enumerate(values)
        ]

    found = {
        row["metric"]: row for row in compare(rows([1.0, 1.0, None, 0.0]), rows([0.0, None, 1.0, 0.0, 1.0]), seed=0)
    }
    assert found["closed_accuracy"]["items"] == 2
    assert found["closed_accuracy"]["difference"] == 0.5
    assert compare(rows([1.0]), rows([None]), seed=0) == []


class Hard:
    """A judge that leaves reports alone and counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def judge(self, example, reply):
        self.asked += 1
        value = None if example.kind == "report" else float(len(reply) > 3)
        return Verdict(value, "by length", {"length": str(len(reply))})


def test_a_bound_judge_is_journalled_and_not_judged_is_left_out(tmp_path):
    plan, judge = plan_of(tmp_path, "judged", patients=6), Hard()
    plan = dataclasses.replace(plan, judges={"hard": judge})
    seer = Seer(tmp_path)
    with store.Journal(plan.out / "journal.jsonl") as journal:
        journal.put("judge/hard/e0-presence", [0.25, "from before", {}])
    carry_out(plan, answer=seer.answer, read=seer.read)
    assert judge.asked == len(plan.examples) - 1
    rows = [r for r in store.read_lines(plan.out / "verdicts.jsonl", VerdictRow) if r.metric == "judge_hard"]
    assert {row.example: row.value for row in rows}["e0-presence"] == 0.25
    found = [e for e in store.read_json(plan.out / "estimates.json")["estimates"] if e["metric"] == "judge_hard"]
    overall = next(e for e in found if (e["kind"], e["slice"]) == ("all", "all"))
    assert overall["items"] == sum(example.kind != "report" for example in plan.examples)
