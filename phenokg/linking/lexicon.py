"""Every wording under which an HPO release's phenotypes are looked for in a text; built once, kept as JSON."""

import logging
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import msgspec

from phenolip.ontology import PHENOTYPIC_ABNORMALITY, PhenotypeOntology, PhenotypeTerm
from phenolip.ontology.cache import cache_folder
from phenolip.phenokg.linking.substitutes import find_substitutes
from phenolip.phenokg.linking.words import WORD, Role, role_of, singular, stem
from phenolip.whole_files import whole_file

logger = logging.getLogger(__name__)

FORMAT_VERSION = 2  # rises when a release gives another lexicon than before

#: How sure a wording is, by its scope; ours, set on the development abstracts.
SCOPE_WEIGHTS = {"name": 1.0, "EXACT": 1.0, "RELATED": 0.9, "NARROW": 0.85, "BROAD": 0.7}
_SHORTENED, _ALTERNATIVE = 0.94, 0.75
# Two letters may stand for anything; longer ones, where the text does not explain them, for what the release says.
_MIN_ABBREVIATION, _SURE_ABBREVIATION, _DOUBTFUL_ABBREVIATION = 3, 0.85, 0.5
_MAX_WORDS = 8
# HPO spells out what reports leave out: "Abnormal kidney morphology", "Elevated circulating alanine concentration".
_LEFT_OUT = frozenset(map(stem, "morphology circulating concentration level serum plasma blood finding".split()))
_EITHER = re.compile(r"(\w+)/(\w+) (.+)")  # "Aplasia/Hypoplasia of the radius"
_ABBREVIATION = re.compile(r"[A-Z0-9][A-Za-z0-9]{1,5}")
SINGLE = "="  # marks a wording of one word, which is matched in the singular only, not by its stem


@dataclass(frozen=True, slots=True)
class Wording:
    """Words that name a term when they stand together.

    Attributes:
        hpo_id: The term.
        scope: "name", or the scope of the synonym.
        weight: Confidence in the wording itself, 0 to 1.
        words: Stems in the order of the wording, without function words; of a single word its singular after "=".
        walls: Function words of the wording that a mention may cross only because of it.
        method: "wording"; "shortened" where words that reports leave out are left out; "alternative" for one side of
            a slash; "abbreviation".
    """

    hpo_id: str
    scope: str
    weight: float
    words: tuple[str, ...]
    walls: tuple[str, ...] = ()
    method: str = "wording"


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The wordings of a release.

    Attributes:
        release: Of the ontology.
        sha256: Of the ontology's file.
        format_version: See `FORMAT_VERSION`.
        names: Name of each term.
        wordings: All of them.
        substitutes: Words of a text -> words of a wording that they may stand for, with the cost.
        abbreviations: As written -> what it stands for; doubtful where it is short, or stands for several terms.
    """

    release: str
    sha256: str
    format_version: int
    names: dict[str, str]
    wordings: tuple[Wording, ...]
    substitutes: dict[str, tuple[tuple[str, float], ...]]
    abbreviations: dict[str, tuple[Wording, ...]]


def build_lexicon(ontology: PhenotypeOntology) -> Lexicon:
    """The lexicon of every term below HP:0000118, synonyms of all scopes included."""
    wordings: list[Wording] = []
    exact: dict[str, list[tuple[str, ...]]] = {}
    abbreviations: dict[str, dict[str, str]] = defaultdict(dict)
    terms = [ontology[term_id] for term_id in ontology.term_ids() if term_id != PHENOTYPIC_ABNORMALITY]
    for term in terms:
        found = {}
        for text, scope, kind in _texts(term):
            if _is_abbreviation(text, kind):
                abbreviations[text].setdefault(term.id, scope)
                continue
            for wording in _wordings(term.id, text, scope):
                found.setdefault(wording.words, wording)
        wordings += found.values()
        exact[term.id] = [
            wording.words
            for wording in found.values()
            if wording.method == "wording" and wording.scope in ("name", "EXACT") and len(wording.words) > 1
        ]
    return Lexicon(
        release=ontology.release,
        sha256=ontology.sha256,
        format_version=FORMAT_VERSION,
        names={term.id: term.name for term in terms},
        wordings=tuple(wordings),
        substitutes=dict(find_substitutes(exact)),
        abbreviations={short: _abbreviated(short, scopes) for short, scopes in sorted(abbreviations.items())},
    )


def load_lexicon(ontology: PhenotypeOntology, cache_dir: str | os.PathLike | None = None) -> Lexicon:
    """The lexicon of a release, from the cache where one is kept."""
    path = cache_folder(cache_dir) / "lexicon" / f"{ontology.sha256}-v{FORMAT_VERSION}.json"
    if (lexicon := _read(path, ontology.sha256)) is None:
        lexicon = build_lexicon(ontology)
        _write(lexicon, path)
    return lexicon


def _texts(term: PhenotypeTerm) -> list[tuple[str, str, str | None]]:
    return [(term.name, "name", None), *((synonym.text, synonym.scope, synonym.type) for synonym in term.synonyms)]


def _is_abbreviation(text: str, kind: str | None) -> bool:
    """Whether a wording is matched to the letter: "ASD", but not "short" or "ID card"."""
    return bool(_ABBREVIATION.fullmatch(text)) and (kind == "abbreviation" or text.isupper())


def _wordings(hpo_id: str, text: str, scope: str) -> list[Wording]:
    """A text as it stands, without what reports leave out, and for either side of a slash."""
    weight = SCOPE_WEIGHTS[scope]
    walls = tuple(sorted({word for word in WORD.findall(text.casefold()) if role_of(word) is Role.WALL}))
    whole = content_words(text)
    variants = [(whole, weight, "wording")]
    short = tuple(word for word in whole if word not in _LEFT_OUT)
    if len(whole) - 2 <= len(short) < len(whole) and len(short) > 1:
        variants.append((short, weight * _SHORTENED, "shortened"))
    if sides := _EITHER.fullmatch(text):
        first, second, rest = sides.groups()
        variants += [
            (content_words(f"{side} {rest}"), weight * _ALTERNATIVE, "alternative") for side in (first, second)
        ]
    return [
        Wording(hpo_id, scope, round(weight, 4), words, walls, method)
        for words, weight, method in variants
        if 0 < len(words) <= _MAX_WORDS
    ]


def _abbreviated(short: str, scopes: dict[str, str]) -> tuple[Wording, ...]:
    """Wordings of an abbreviation, given the scope that it has with each of its terms."""
    sure = len(short) >= _MIN_ABBREVIATION and len(scopes) == 1
    weight = _SURE_ABBREVIATION if sure else _DOUBTFUL_ABBREVIATION
    return tuple(
        Wording(hpo_id, scope, weight, (short,), method="abbreviation") for hpo_id, scope in sorted(scopes.items())
    )


def content_words(text: str) -> tuple[str, ...]:
    """Stems of the words that say something, in their order; of a single one the singular, after "="."""
    words = [word for word in WORD.findall(text) if role_of(word) in (Role.CONTENT, Role.BARRIER)]
    return (SINGLE + singular(words[0]),) if len(words) == 1 else tuple(map(stem, words))


def _read(path: Path, sha256: str) -> Lexicon | None:
    try:
        lexicon = msgspec.json.decode(path.read_bytes(), type=Lexicon)
        if (lexicon.sha256, lexicon.format_version) != (sha256, FORMAT_VERSION):
            raise ValueError("it holds another release")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        logger.warning("The cached lexicon %s cannot be read (%s) and is built again.", path, error)
        return None
    return lexicon


def _write(lexicon: Lexicon, path: Path) -> None:
    """Whole or not at all; a folder that refuses it costs only time."""
    try:
        with whole_file(path) as file:
            file.write(msgspec.json.encode(lexicon))
    except OSError as error:
        logger.warning("Cannot keep the lexicon in %s (%s): each load will build it again.", path.parent, error)
