"""The kinds of findings that are looked for: the phenotypes of a release, and what radiology calls otherwise."""

import os
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import yaml

from phenolip.exceptions import UnknownTermError
from phenolip.ontology import PhenotypeOntology
from phenolip.phenokg.linking.lexicon import Lexicon, Wording, content_words, load_lexicon
from phenolip.phenokg.linking.words import WORD, Role, role_of
from phenolip.phenokg.records import Assertion

#: Key of a kind that the list adds; "RF:1" is its first row. Below every number of the ontology, so that of equal
#: wordings the list's wins.
_OURS = "RF:"
_ABBREVIATION_WEIGHT = 0.85  # that of the linker


@dataclass(frozen=True, slots=True)
class FindingKind:
    """What wordings of one meaning have in common.

    Attributes:
        name: The category.
        hpo_id: The ontology's term; None if it has none.
        chest_hpo_id: The term where the text is about the chest, else None.
        site: Part of the body that it is of, None if it may be any.
        severity: What the wording itself says of it, "borderline".
        location: What the wording itself says of it, "left".
        assertion: What the wording itself says of it, "absent".
        is_lasting: Whether it still shows when it is over.
        is_paired: Whether the plural of the word says that both sides have it: "effusions".
        is_finding: False for wordings that only look like one.
    """

    name: str
    hpo_id: str | None = None
    chest_hpo_id: str | None = None
    site: str | None = None
    severity: str | None = None
    location: str | None = None
    assertion: Assertion | None = None
    is_lasting: bool = False
    is_paired: bool = False
    is_finding: bool = True


@dataclass(frozen=True, slots=True)
class FindingLexicon:
    """All wordings, and the kind that each names.

    Attributes:
        lexicon: The release's wordings and the list's, for one matcher.
        kinds: Key of a wording that the list adds -> its kind.
    """

    lexicon: Lexicon
    kinds: dict[str, FindingKind]

    def is_listed(self, wording: Wording) -> bool:
        """Whether it is of the list, not of the release."""
        return wording.hpo_id.startswith(_OURS)

    def kind_of(self, key: str) -> FindingKind:
        """The kind that a wording's key stands for; of a term of the release, its name in lower case."""
        if (kind := self.kinds.get(key)) is None:
            kind = self.kinds[key] = FindingKind(category_name(self.lexicon.names[key]), hpo_id=key)
        return kind


def load_finding_lexicon(ontology: PhenotypeOntology, cache_dir: str | os.PathLike | None = None) -> FindingLexicon:
    """The release's lexicon with the wordings of radiology put first."""
    base = load_lexicon(ontology, cache_dir)
    kinds: dict[str, FindingKind] = {}
    wordings: list[Wording] = []
    abbreviations = dict(base.abbreviations)
    for kind, texts in _listed(ontology):
        key = f"{_OURS}{len(kinds) + 1}"
        kinds[key] = kind
        for text in texts:
            if text.isupper():
                wording = Wording(key, "name", _ABBREVIATION_WEIGHT, (text,), method="abbreviation")
                abbreviations[text] = (wording, *abbreviations.get(text, ()))
            else:
                wordings.append(_wording(key, text))
    names = base.names | {key: kind.name for key, kind in kinds.items()}
    merged = replace(base, names=names, wordings=(*wordings, *base.wordings), abbreviations=abbreviations)
    return FindingLexicon(merged, kinds)


def category_name(term_name: str) -> str:
    """A term's name as a report would write it.

    Example:
        >>> category_name("Pleural effusion"), category_name("EEG abnormality")
        ('pleural effusion', 'EEG abnormality')
    """
    return term_name if term_name[1:2].isupper() else term_name[:1].lower() + term_name[1:]


def _listed(ontology: PhenotypeOntology) -> list[tuple[FindingKind, list[str]]]:
    """The list's kinds with their wordings; ids that the release does not know are left out."""
    listed = yaml.safe_load(
        files("phenolip.phenokg.findings").joinpath("finding_lexicon.yaml").read_text(encoding="utf-8")
    )
    kinds = [(FindingKind("", is_finding=False), listed["no_findings"])]
    for row in listed["findings"]:
        kind = _kind(row, ontology)
        kinds.append((kind, row["wordings"]))
        if "denied" in row:
            kinds.append((replace(kind, assertion="absent"), row["denied"]))
    return kinds


def _kind(row: dict[str, Any], ontology: PhenotypeOntology) -> FindingKind:
    hpo_id, chest_hpo_id = (_current(ontology, row.get(field)) for field in ("hpo", "chest_hpo"))
    return FindingKind(
        name=row["name"],
        hpo_id=hpo_id,
        chest_hpo_id=chest_hpo_id,
        site=row.get("site"),
        severity=row.get("severity"),
        location=row.get("location"),
        is_lasting=row.get("lasting", False),
        is_paired=row.get("paired", False),
    )


def _current(ontology: PhenotypeOntology, hpo_id: str | None) -> str | None:
    try:
        return None if hpo_id is None else ontology.resolve(hpo_id)
    except UnknownTermError:
        return None


def _wording(key: str, text: str) -> Wording:
    walls = tuple(sorted({word for word in WORD.findall(text.casefold()) if role_of(word) is Role.WALL}))
    return Wording(key, "name", 1.0, content_words(text), walls)
