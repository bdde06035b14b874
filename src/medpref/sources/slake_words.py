"""SLAKE's words: which words of a question, English or Chinese, name an organ or a lesion, and Chinese choices.

Knows: the vocabulary of SLAKE's mask labels. Does not know: images, negation, other data sets.
"""

from __future__ import annotations

import re

SIDES = frozenset({"left", "right"})
LESION_WORDS = frozenset(
    {
        "atelectasis", "cancer", "cardiomegaly", "consolidation", "cyst", "edema", "effusion", "fracture", "hemorrhage",
        "infiltrate", "infiltration", "lesion", "mass", "nodule", "opacity", "pneumonia", "pneumothorax", "stone",
        "tumor",
    }
)  # fmt: skip
ORGANS = frozenset(
    {
        "bladder",
        "bowel",
        "brain",
        "colon",
        "heart",
        "kidney",
        "liver",
        "lung",
        "pancreas",
        "rectum",
        "spleen",
        "stomach",
    }
)
ANY_LESION = frozenset({"abnormal", "abnormality", "abnormalitie", "disease", "diseased", "lesion", "pathology"})
CHINESE = {
    "左": "left", "右": "right", "肺": "lung", "心脏": "heart", "肝": "liver", "肾": "kidney", "脾": "spleen",
    "食管": "esophagus", "食道": "esophagus", "气管": "trachea", "胃": "stomach", "胰": "pancreas", "膀胱": "bladder",
    "胆囊": "gallbladder", "结肠": "colon", "直肠": "rectum", "小肠": "small bowel", "十二指肠": "duodenum",
    "脊髓": "spinal cord", "股骨头": "femoral head", "脑干": "brain stem", "脑": "brain", "垂体": "pituitary",
    "眼": "eye", "视神经": "optic nerve", "视交叉": "optic chiasm", "晶状体": "lens", "喉": "larynx",
    "腮腺": "parotid", "下颌": "mandible", "颞叶": "temporal lobe", "内耳": "inner ear", "中耳": "middle ear",
    "肾上腺": "adrenal gland", "癌": "cancer", "肿瘤": "tumor", "水肿": "edema", "非增强": "non enhancing",
    "增强": "enhancing", "肺炎": "pneumonia", "气胸": "pneumothorax", "积液": "effusion", "肺不张": "atelectasis",
    "心脏肥大": "cardiomegaly", "心影增大": "cardiomegaly", "浸润": "infiltration", "结节": "nodule",
    "肿块": "mass", "异常": "abnormality", "病变": "lesion", "疾病": "disease",
}  # fmt: skip
CHINESE_PAIRS = (
    ("是", "否"), ("是的", "不是"), ("有", "没有"), ("有", "无"), ("存在", "不存在"), ("能", "不能"), ("会", "不会"),
    ("可以", "不可以"), ("包含", "不包含"), ("正常", "不正常"), ("健康", "不健康"), ("左", "右"),
)  # fmt: skip
_EITHER = re.compile(r"([A-Za-z0-9]+|[\u4e00-\u9fff]{1,6}?)还是([A-Za-z0-9]+|[\u4e00-\u9fff]{1,6})[?？]?$")
_TERMS = sorted(CHINESE, key=len, reverse=True)
_WORD = re.compile(r"[a-z]+")
_PLURAL = re.compile(r"(?<=ss)es$|(?<=[a-z]{2}[a-hj-rt-z])s$")


def words(text: str) -> frozenset[str]:
    """The English words of a text, singular, with its Chinese terms translated (the longest first).

    >>> sorted(words("Is the left lung healthy?") & words("左肺健康吗？"))
    ['left', 'lung']
    """
    plain = text.casefold().replace("tumour", "tumor").replace("oedema", "edema")
    for term in _TERMS:
        plain = plain.replace(term, f" {CHINESE[term]} ")
    found = _WORD.findall(plain)
    return frozenset(_PLURAL.sub("", word) for word in found)


def names(asked: frozenset[str], label: str) -> bool:
    """Whether the words of a question name a labelled organ or lesion.

    All words of the label must be asked about, but its side only where the question has one too; a question about an
    abnormality (or a tumor, a cancer ...) names every lesion (of that name).

    >>> names(words("Where are the lungs?"), "Left Lung"), names(words("Is the right lung normal?"), "Left Lung")
    (True, False)
    >>> names(words("Where is the abnormality?"), "Lung Cancer"), names(words("Where is the lung?"), "Lung Cancer")
    (True, False)
    """
    said = words(label)
    sides = said & SIDES
    if sides and asked & SIDES and not sides & asked:
        return False
    if said - SIDES <= asked:
        return True
    lesion = said & LESION_WORDS
    elsewhere = asked & ORGANS - said  # a brain tumor is not asked about by "a tumor in the liver"
    return bool(lesion and asked & ANY_LESION) or bool(lesion & asked and not elsewhere)


def chinese_choices(question: str, answer: str) -> tuple[str, ...]:
    """The two choices of a closed Chinese question: those it offers (A还是B), or a usual pair with the answer in it.

    >>> chinese_choices("这是CT还是MRI？", "CT"), chinese_choices("肺是健康的吗？", "不是")
    (('CT', 'MRI'), ('是的', '不是'))
    """
    said = answer.strip()
    offered = _EITHER.search(question.strip())
    if offered and said in offered.groups():
        return offered.groups()
    return next((pair for pair in CHINESE_PAIRS if said in pair), ())
