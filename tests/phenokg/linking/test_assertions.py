"""What is said of a finding: sentences of every kind of cue."""

import pytest

from phenolip.phenokg.linking.assertions import find_assertions
from phenolip.phenokg.linking.words import WORD, separator_of


def assertion_of(text, *findings):
    pieces = WORD.split(text)
    words, separators = pieces[1::2], [separator_of(gap) for gap in pieces[::2]]
    mentions = []
    for finding in findings:
        parts = finding.split()
        start = next(i for i in range(len(words)) if words[i : i + len(parts)] == parts)
        mentions.append(tuple(range(start, start + len(parts))))
    return find_assertions(words, separators, mentions)


@pytest.mark.parametrize(
    ("text", "findings", "expected"),
    [
        ("There is a large effusion.", ["effusion"], ["present"]),
        ("No pneumothorax, edema or pleural effusion.", ["pneumothorax", "edema", "pleural effusion"], ["absent"] * 3),
        ("No evidence of fracture but severe osteopenia.", ["fracture", "osteopenia"], ["absent", "present"]),
        ("Without seizures. He had ataxia.", ["seizures", "ataxia"], ["absent", "present"]),
        ("No effusion and the heart shows cardiomegaly.", ["effusion", "cardiomegaly"], ["absent", "present"]),
        ("Absence of the nails, hypoplasia of ribs.", ["hypoplasia of ribs"], ["present"]),
        ("Absence of fever, rash and cough.", ["fever", "rash", "cough"], ["absent"] * 3),
        ("Absent thumb was seen.", ["Absent thumb"], ["present"]),
        ("Pneumothorax is not seen.", ["Pneumothorax"], ["absent"]),
        ("The bones were fused, and the thumb is absent.", ["bones were fused"], ["present"]),
        ("Ataxia was noted. None of them had seizures.", ["Ataxia"], ["present"]),
        ("No change in the effusion.", ["effusion"], ["present"]),
        ("Not only ataxia but seizures.", ["ataxia", "seizures"], ["present"] * 2),
        ("Possible pneumonia.", ["pneumonia"], ["uncertain"]),
        ("Pneumonia cannot be excluded.", ["Pneumonia"], ["uncertain"]),
        ("Opacity may represent atelectasis.", ["Opacity", "atelectasis"], ["present", "uncertain"]),
        ("Family history of deafness.", ["deafness"], ["family"]),
        ("No family history of deafness.", ["deafness"], ["family"]),
        ("Her mother had cataracts. She had ataxia.", ["cataracts", "ataxia"], ["family", "present"]),
        ("History of seizures.", ["seizures"], ["historical"]),
        ("", [], []),
    ],
)  # fmt: skip
def test_cues(text, findings, expected):
    assert assertion_of(text, *findings) == expected


def test_a_long_text_without_a_stop_is_read_in_linear_time():
    words = ["no", "fever"] * 50_000
    separators = [separator_of(" ")] * len(words)
    assert find_assertions(words, separators, [(99_999,)]) == ["absent"]
