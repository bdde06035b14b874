import dataclasses
import json

import numpy as np
import pytest

from medpref import store
from medpref.evaluation.attention import Focus, layer_curve, layer_rows
from medpref.evaluation.compare import compare
from medpref.evaluation.estimate import estimates
from medpref.evaluation.evaluate import Look, Plan, carry_out, chunks, withstand
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


def test_a_chosen_log_probability_that_fell_in_training_is_an_alarm(tmp_path):
    seer = Seer(tmp_path)
    names = []
    for steps in ((), tuple({"step": n, "logps/chosen": -10.0 - n} for n in range(20))):
        plan = dataclasses.replace(plan_of(tmp_path, f"seer{len(steps)}", patients=4), steps=steps)
        carry_out(plan, answer=seer.answer, read=seer.read)
        alarms = store.read_json(plan.out / "estimates.json")["alarms"]
        names.append({alarm["name"]: alarm["level"] for alarm in alarms})
    assert names[1] == {"chosen_log_prob": "warn", **names[0]}


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


def look_at(seer, calls=None):
    """Attention rows and maps by arithmetic; ``calls`` counts, and kills where it runs out."""

    def alive():
        if calls is not None:
            if not calls:
                raise Killed
            calls.pop()

    def rows(chunk):
        alive()
        return [layer_rows(one, [Focus(len(one.id), 1.0, 0.5)]) if one.regions else [] for one in chunk]

    def drawn(example, reply):
        alive()
        return np.arange(4.0).reshape(2, 2) if example.kind == "side" else None

    return Look(rows, {"attention": drawn})


def test_attention_is_rows_a_curve_and_maps_of_wrong_answers(tmp_path):
    blind = Blind(tmp_path)
    plain, counts = run(tmp_path, blind, "plain")
    plan = plan_of(tmp_path, "looked")
    more = carry_out(plan, answer=blind.answer, read=blind.read, look=look_at(blind))
    before, now = files(plain), files(plan)
    assert set(now) - set(before) == {"attention.json", "maps.json"}
    assert before["replies.jsonl"] == now["replies.jsonl"]
    assert now["verdicts.jsonl"].startswith(before["verdicts.jsonl"]), "rows are added, none is changed"
    rows = store.read_lines(plan.out / "verdicts.jsonl", VerdictRow)
    assert json.loads(json.dumps(estimates(rows, seed=0))) == json.loads(now["estimates.json"])["estimates"]
    assert json.loads(now["attention.json"]) == json.loads(json.dumps(layer_curve(rows, seed=0)))
    maps = json.loads(now["maps.json"])
    wrong = {row.example for row in rows if row.metric in ("closed_accuracy", "open_exact") and row.value == 0}
    assert {row["example"] for row in maps} <= wrong
    assert maps
    assert maps[0]["values"] == [0, 86, 172, 255]
    assert more == counts | {"maps": len(maps), "verdicts": len(rows), "estimates": more["estimates"]}


@pytest.mark.parametrize("after", [0, 1, 3, 9])
def test_killed_while_looking_it_ends_with_the_same_bytes(tmp_path, after):
    blind = Blind(tmp_path)
    whole, torn = plan_of(tmp_path, "whole"), plan_of(tmp_path, "torn")
    carry_out(whole, answer=blind.answer, read=blind.read, look=look_at(blind))
    with pytest.raises(Killed):
        carry_out(torn, answer=blind.answer, read=blind.read, look=look_at(blind, list(range(after))))
    carry_out(torn, answer=blind.answer, read=blind.read, look=look_at(blind))
    before, now = files(whole), files(torn)
    assert {name: held for name, held in before.items() if name != "estimates.json"} == {
        name: held for name, held in now.items() if name != "estimates.json"
    }


def test_degraded_images_are_read_once_even_if_what_follows_is_killed(tmp_path):
    plan, seer = plan_of(tmp_path, "robust", patients=6), Seer(tmp_path)
    assert withstand(plan, seer.read, limit=4) == 4
    first = (plan.out / "robustness.json").read_bytes()
    assert withstand(plan, None, limit=4) == 4, "it is there and nobody is asked"
    assert (plan.out / "robustness.json").read_bytes() == first
