"""Embeddings of terms from names, synonyms and definitions against the plain definition."""

import numpy as np
import pytest

from phenolip.exceptions import ConfigurationError, DataError, UnknownTermError
from phenolip.inference.term_texts import TEXT_WEIGHTS, embed_terms, term_texts

CATARACT, LENS = "HP:0000518", "HP:0000517"
PROMPTS = ("{}", "an image of {}.")


def vector(text):
    draw = np.random.default_rng(list(text.encode())).normal(size=8)
    return draw / np.linalg.norm(draw)


def encode(texts):
    return np.array([vector(text) for text in texts], dtype=np.float32)


def test_texts_of_a_term_hold_exact_synonyms_once(diamond):
    assert term_texts(diamond, CATARACT) == {
        "name": ("Cataract",),
        "synonyms": ("Cloudy lens", "Cataracts"),  # neither the broad one nor the name in capitals
        "definition": ("A cataract is an opacity of the lens.",),
    }
    assert term_texts(diamond, LENS) == {"name": ("Abnormal lens morphology",)}
    assert list(term_texts(diamond, CATARACT, ["definition", "name"])) == ["name", "definition"]


def test_the_whole_ensemble_equals_the_plain_sum(diamond):
    embeds = embed_terms(encode, diamond, [LENS, CATARACT], texts=list(TEXT_WEIGHTS), prompts=PROMPTS)

    def in_prompts(name):
        return np.mean([vector(prompt.format(name)) for prompt in PROMPTS], axis=0)

    expected = (
        in_prompts("Cataract")
        + 0.5 * (in_prompts("Cloudy lens") + in_prompts("Cataracts")) / 2
        + 0.5 * vector("A cataract is an opacity of the lens.")
    )
    np.testing.assert_allclose(embeds[1], expected / np.linalg.norm(expected), atol=1e-6)
    weights = {"name": 1.0, "definition": 3.0}
    heavy = embed_terms(encode, diamond, [CATARACT], texts=list(weights), prompts=PROMPTS, weights=weights)[0]
    expected = in_prompts("Cataract") + 3 * vector("A cataract is an opacity of the lens.")
    np.testing.assert_allclose(heavy, expected / np.linalg.norm(expected), atol=1e-6)
    alone = in_prompts("Abnormal lens morphology")  # a term that has a name only
    np.testing.assert_allclose(embeds[0], alone / np.linalg.norm(alone), atol=1e-6)
    assert embeds.dtype == np.float32


def test_a_name_with_braces_stays_as_it_is(diamond):
    seen = []
    embed_terms(lambda texts: seen.extend(texts) or encode(texts), diamond, [LENS], prompts=["{} {x}"])
    assert seen == ["Abnormal lens morphology {x}"]


def test_wrong_calls_are_named(diamond):
    with pytest.raises(ConfigurationError, match="`texts` must hold 'name'"):
        embed_terms(encode, diamond, [LENS], texts=["definition"])
    with pytest.raises(ConfigurationError, match="`texts` must be a list of name, synonyms, definition, got 'name'"):
        embed_terms(encode, diamond, [LENS], texts="name")
    with pytest.raises(ConfigurationError, match="got \\['name', 'xref'\\]"):
        term_texts(diamond, LENS, ["name", "xref"])
    with pytest.raises(DataError, match="at least one phenotype"):
        embed_terms(encode, diamond, [])
    with pytest.raises(UnknownTermError, match="HP:1234567"):
        embed_terms(encode, diamond, ["HP:1234567"])
