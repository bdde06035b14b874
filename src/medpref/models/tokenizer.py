"""A byte-level BPE tokenizer of about 1,000 entries, trained on clinical sentences that this module writes.

Knows: the words of chest radiograph questions, answers and reports, and of general medical VQA. Any other text still
round-trips, byte by byte. Training is deterministic: the same sentences give the same merges.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY_SIZE = 1024
PAD, BEGIN, END = "<pad>", "<s>", "</s>"
FINDINGS = (
    "cardiomegaly", "pleural effusion", "consolidation", "nodule", "mass", "pneumothorax", "atelectasis", "edema",
    "fracture", "hernia", "opacity", "pneumonia", "support device", "pacemaker", "central line", "chest tube",
    "endotracheal tube", "tumor", "hemorrhage", "infarct", "cyst", "lesion", "calcification", "stone", "abscess",
)  # fmt: skip
SIDES = ("left", "right", "both", "bilateral", "neither")
ZONES = ("upper", "middle", "lower", "apical", "basal", "perihilar", "peripheral", "central")
SEVERITIES = ("mild", "moderate", "severe", "small", "large", "trace", "marked", "subtle")
ORGANS = ("chest", "lung", "heart", "brain", "abdomen", "liver", "kidney", "spleen", "bladder", "pelvis", "spine")
MODALITIES = ("X-ray", "CT", "MRI", "ultrasound", "radiograph", "T1 weighted", "T2 weighted", "contrast")
VIEWS = ("PA", "AP", "lateral", "frontal", "axial", "coronal", "sagittal", "supine", "erect", "portable")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "none", "several")
PLAIN = (
    "Yes", "No", "Yes, there is.", "No, there is not.", "The lungs are clear.", "The heart size is normal.",
    "The heart is enlarged.", "The cardiac silhouette is enlarged.", "No acute cardiopulmonary abnormality.",
    "The mediastinal contours are within normal limits.", "The diaphragm is elevated.", "The ribs are intact.",
    "The costophrenic angle is blunted.", "There is no evidence of acute disease.", "This is a normal study.",
    "Write the findings of this chest radiograph.", "Describe the findings in this image.", "Report the findings.",
    "What abnormality is seen in this image?", "What is the main abnormality in the marked region?",
    "What is in the marked box?", "Compare the two studies.", "Has the finding improved, worsened or not changed?",
    "The finding is new.", "It has resolved since the prior study.", "Unchanged compared with the previous image.",
    "Which organ is shown in the picture?", "Which part of the body does this image belong to?",
    "What kind of imaging modality was used?", "In which plane was this scan taken?", "Is the patient healthy?",
    "Does the picture contain the liver?", "Are there abnormalities in this image?", "Where is the lesion located?",
    "How many nodules are there?", "What color does the tissue have?", "What disease is depicted?", "It is normal.",
    "Which view is this?", "Is a device present?", "What is the function of the organ on the left of this image?",
    "The marker in the corner is bright.", "Air is seen outside the lung.", "The tip of the line is visible.",
    "There are patchy densities; they may represent infection.", "Cannot be excluded.", "Consistent with.",
)  # fmt: skip


def tokenizer_text() -> Iterator[str]:
    """The training sentences, in a fixed order: every plain sentence, and templates over findings, sides and zones."""
    yield from (sentence for sentence in PLAIN for _ in range(8))
    for finding in FINDINGS:
        yield f"Is there {finding}?"
        yield f"Is there any {finding} in this image?"
        yield f"There is no {finding}."
        yield f"No {finding} is seen."
        yield f"Which side is the {finding} on?"
        yield f"Which zone shows the {finding}?"
        yield f"How severe is the {finding}?"
        yield f"{finding.capitalize()} is present."
    for severity, side, zone, finding in itertools.product(SEVERITIES, SIDES[:4], ZONES[:3], FINDINGS[:7]):
        yield f"There is a {severity} {finding} in the {side} {zone} zone of the lung."
    for organ, modality, view in itertools.product(ORGANS, MODALITIES, VIEWS):
        yield f"{view} {modality} of the {organ}."
    for number, finding in itertools.product(NUMBERS, FINDINGS):
        yield f"{number} {finding}s are seen, {number} in the image."
    for word in (*FINDINGS, *SIDES, *ZONES, *SEVERITIES, *ORGANS, *MODALITIES, *VIEWS, *NUMBERS):
        yield word
        yield word.capitalize()


def build_tokenizer(specials: Mapping[str, str], chat_template: str) -> PreTrainedTokenizerFast:
    """A trained tokenizer; ``specials`` maps an attribute (``image_token``) to its text (``<image>``).

    Digits are single tokens and spaces lead the word they precede, so ``decode(encode(text)) == text`` for any text.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[PAD, BEGIN, END, *specials.values()],
        show_progress=False,
    )
    tokenizer.train_from_iterator(tokenizer_text(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        extra_special_tokens=dict(specials),
        clean_up_tokenization_spaces=False,
        chat_template=chat_template,
    )
