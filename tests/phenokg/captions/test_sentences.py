"""Sentences and budgets."""

import time

from phenolip.phenokg.captions.sentences import estimated_tokens, sentences, within_budget


def test_sentences_are_all_of_the_text_in_order():
    text = 'A mass (Fig. 2A). "Dense" cyst, e.g. Bosniak II, vs. T3 of J. Smith et al. Next?  Yes! 3 cm wide.\n\nEnd'
    found = list(sentences(text))
    assert found[0] == "A mass (Fig. 2A)." and found[-3:] == ["Yes!", "3 cm wide.", "End"]
    assert "".join("".join(found).split()) == "".join(text.split())
    assert list(sentences("")) == [] and list(sentences(" . ")) == ["."]


def test_budgets_hold_and_grow():
    text = " ".join(f"Sentence number {number} of many." for number in range(50))
    sizes = [len(within_budget(text, budget)) for budget in range(0, 700, 20)]
    assert sizes == sorted(sizes) and sizes[0] == 0 and sizes[-1] == len(text)
    for budget in (10, 50, 100):
        assert estimated_tokens(within_budget(text, budget)) <= budget
    assert within_budget("words " * 1000, 50) == ""


def test_long_texts_take_linear_time():
    began = time.monotonic()
    for text in (". " * 50_000, ".)" * 50_000, "\n" * 100_000, '. "(' * 30_000, "." * 100_000, " " * 100_000 + "."):
        assert sum(map(len, sentences(text))) <= len(text)
    assert time.monotonic() - began < 2
