"""What a metric's or a model's name means to a reader: its label, its unit, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from medpref.report.values import is_control

Better = Literal["higher", "lower", "neither"]


class Words(NamedTuple):
    """How a metric is written: ``percent`` values lie in [0, 1] and are shown times 100."""

    label: str
    percent: bool
    better: Better
    note: str = ""


KNOWN: dict[str, Words] = {
    "overall_accuracy": Words("Accuracy", True, "higher", "closed and open questions; exact class or exact answer"),
    "closed_accuracy": Words("Closed accuracy", True, "higher", "parsed decision, never a substring"),
    "closed_balanced_accuracy": Words("Closed balanced accuracy", True, "higher", "mean over the classes"),
    "closed_mcc": Words("Closed MCC", False, "higher", "Matthews correlation"),
    "closed_yes_rate": Words("Yes rate", True, "neither", "share of yes/no questions answered yes"),
    "closed_unparsed": Words("Unparsed replies", True, "lower", "closed questions without a readable decision"),
    "open_exact": Words("Open exact match", True, "higher"),
    "open_recall": Words("Open token recall", True, "higher"),
    "open_f1": Words("Open token F1", True, "higher"),
    "open_set_f1": Words("Open set F1", True, "higher"),
    "constant_accuracy": Words("Constant-answer baseline", True, "neither", "the most frequent training answer"),
    "gain_over_constant": Words("Gain over constant answer", True, "higher"),
    "unsupported_claim_rate": Words("Unsupported claims", True, "lower", "findings asserted without support"),
    "grounding_drop": Words("Causal grounding, nats", False, "higher", "lesion hidden beyond background hidden"),
    "report_grounding_drop": Words("Causal grounding of reports, nats", False, "higher"),
    "flip_rate_lesion": Words("Flips with lesion hidden", True, "higher"),
    "flip_rate_background": Words("Flips with background hidden", True, "lower"),
    "grounding_flip": Words("Flips, lesion minus background", True, "higher"),
    "counterfactual_accuracy": Words("Counterfactual accuracy", True, "higher", "right with and without the lesion"),
    "counterfactual_flip": Words("Counterfactual flips", True, "higher"),
    "choice_accuracy": Words("Forced-choice accuracy", True, "higher"),
    "blind_accuracy": Words("Image-blind accuracy", True, "neither", "grey image"),
    "wrong_image_accuracy": Words("Wrong-image accuracy", True, "neither", "another patient's image"),
    "visual_reliance": Words("Visual reliance", True, "higher", "accuracy minus image-blind accuracy"),
    "blind_drop": Words("Log-probability lost when blind, nats", False, "higher"),
    "answer_log_prob": Words("Log-probability of the answer, nats", False, "higher"),
    "attention_ratio": Words("Attention on the regions, ratio", False, "higher", "1 is chance; attention, not cause"),
    "attention_kl": Words("Attention to regions, KL, nats", False, "lower"),
    "attention_js": Words("Attention to regions, JS, nats", False, "lower"),
    "fact_completeness": Words("Facts stated", True, "higher", "entailed, and half of the partly entailed"),
    "fact_contradiction": Words("Facts contradicted", True, "lower"),
    "radgraph_f1": Words("RadGraph F1, partial", True, "higher", "radeval"),
    "radgraph_f1_simple": Words("RadGraph F1, simple", True, "higher", "radeval"),
    "radgraph_f1_complete": Words("RadGraph F1, complete", True, "higher", "radeval"),
    "chexbert_agreement_5": Words("CheXbert agreement, 5", True, "higher", "conditions labelled alike; radeval"),
    "chexbert_agreement": Words("CheXbert agreement, 14", True, "higher", "conditions labelled alike; radeval"),
    "green": Words("GREEN", True, "higher", "radeval"),
    "ratescore": Words("RaTEScore", True, "higher", "radeval"),
    "bertscore_f1": Words("BERTScore F1", True, "higher", "radeval"),
    "ece": Words("Calibration error (ECE)", True, "lower"),
    "auroc": Words("AUROC of confidence", False, "higher", "are right answers surer than wrong ones?"),
    "aurc": Words("Risk-coverage area (AURC)", True, "lower", "error among the surest, over all coverages"),
    "legacy_closed_substring": Words("Closed, substring (legacy)", True, "higher", "only for published tables"),
    "legacy_open_recall": Words("Open recall (legacy)", True, "higher", "only for published tables"),
}
SHARES = ("accuracy", "rate", "recall", "precision", "f1", "share", "reliance", "exact", "correct", "bleu", "rouge")
LOWER = ("error", "unparsed", "unsupported", "contradict", "hallucinat", "ece", "brier", "perplexity")
NEITHER = ("yes_rate", "blind", "wrong_image", "length", "distinct", "constant")
ACRONYMS = {
    word.lower(): word for word in ("F1", "AUC", "MCC", "BLEU", "ROUGE", "METEOR", "CIDEr", "ECE", "AUROC", "KL")
}
HEADLINE = (
    "overall_accuracy",
    "overall_accuracy@shortcut=broken",
    "grounding_drop",
    "counterfactual_accuracy",
    "unsupported_claim_rate",
    "visual_reliance",
    "closed_accuracy",
    "open_f1",
    "accuracy",
    "finding_f1_present",
)


def metric_words(name: str) -> Words:
    """The words of a metric, or of ``metric@key=value``; an unknown one is read from the parts of its name."""
    metric, _, part = name.partition("@")
    if part:
        words = metric_words(metric)
        return words._replace(label=f"{words.label}, {part_label(part)}", note="")
    if name in KNOWN:
        return KNOWN[name]
    better: Better = "higher"
    if any(part in name for part in NEITHER):
        better = "neither"
    elif any(part in name for part in LOWER):
        better = "lower"
    return Words(sentence(name), any(part in name for part in SHARES), better)


def headline(metrics: Sequence[str], limit: int = 6) -> list[str]:
    """The few metrics that a reader sees first, in a fixed order of importance; of unknown ones the first."""
    chosen = [name for name in HEADLINE if name in metrics]
    return (chosen or [name for name in metrics if not name.startswith("legacy_")])[:limit]


def part_label(part: str) -> str:
    """A slice or a question type for a reader.

    >>> part_label("shortcut=broken")
    'shortcut broken'
    """
    key, equals, value = part.partition("=")
    return f"{key.replace('_', ' ')} {value}" if equals else part.replace("_", " ")


def is_headline(name: str) -> bool:
    """Whether a metric (or one of its slices) is among those that a reader is shown before the others."""
    return name.partition("@")[0] in HEADLINE


def model_label(name: str) -> str:
    """A model's name for a reader."""
    if is_control(name):
        recipe = name.removesuffix("control").rstrip("_").removesuffix("sft").rstrip("_")
        return f"Control ({recipe})" if recipe else "SFT control"
    return {"base": "Base", "sft": "SFT"}.get(name, name)


def sentence(name: str) -> str:
    """``snake_case/name`` as words with a capital.

    >>> sentence("mean_change_px")
    'Mean change px'
    """
    text = name.replace("_", " ").replace("/", ": ").replace("-", " ").strip()
    text = " ".join(ACRONYMS.get(word, word) for word in text.split(" "))
    return text[:1].upper() + text[1:]


def number(value: float | None, *, percent: bool = False, signed: bool = False) -> str:
    """A number as a reader sees it; None is an em dash, a minus sign is a real one.

    >>> number(0.1234, percent=True), number(-0.5, signed=True), number(None)
    ('12.3', '−0.500', '—')
    """
    if value is None:
        return "—"
    shown = value * 100 if percent else value
    digits = 1 if percent else _digits(shown)
    text = f"{shown:+.{digits}f}" if signed else f"{shown:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def _digits(value: float) -> int:
    size = abs(value)
    return 3 if size < 10 else (2 if size < 100 else 1)


def p_value(p: float | None) -> str:
    """A p-value without false precision.

    >>> p_value(0.00004), p_value(0.0312)
    ('< 0.001', '0.031')
    """
    if p is None:
        return "—"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
