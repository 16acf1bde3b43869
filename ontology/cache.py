"""Parsed releases on disk: one Parquet file per content hash, so that a release is parsed once on a machine."""

import logging
import os
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.term import ObsoleteTerm, PhenotypeTerm, Synonym
from phenolip.whole_files import whole_file

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1  # rises when the schema, or what the reader puts in a column, changes
_LIST = pa.list_(pa.string())
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "name": pa.string(),
        "definition": pa.string(),
        "comment": pa.string(),
        "synonym_texts": _LIST,
        "synonym_scopes": _LIST,
        "synonym_types": _LIST,
        "parents": _LIST,
        "alt_ids": _LIST,
        "xrefs": _LIST,
        "obsolete": pa.bool_(),
        "replaced_by": _LIST,
        "consider": _LIST,
    }
)


def cache_folder(cache_dir: str | os.PathLike | None = None) -> Path:
    """Where what is derived from a release is kept: `cache_dir`, else PHENOLIP_CACHE, else the user's cache folder."""
    if cache_dir is None:
        cache_dir = os.environ.get("PHENOLIP_CACHE")
    return Path(cache_dir or Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "phenolip"))


def cache_path(sha256: str, cache_dir: str | os.PathLike | None = None) -> Path:
    """Where the parsed form of a release with this hash is kept."""
    return cache_folder(cache_dir) / "ontology" / f"{sha256}-v{FORMAT_VERSION}.parquet"


def write_cache(ontology: PhenotypeOntology, path: Path) -> None:
    """Keep a parsed release: the file appears whole or not at all, and a folder that refuses it is no error."""
    rows = [_current_row(ontology[term_id]) for term_id in ontology]
    rows += [_obsolete_row(term) for term in ontology.obsolete.values()]
    metadata = {"release": ontology.release, "sha256": ontology.sha256}
    table = pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata(metadata))
    try:
        with whole_file(path) as file:
            pq.write_table(table, file, write_page_checksum=True)
    except OSError as error:
        logger.warning(
            "Cannot keep the parsed ontology in %s (%s): each load will parse it again.", path.parent, error
        )


def read_cache(path: Path, *, sha256: str, source: str) -> PhenotypeOntology | None:
    """The release that `write_cache` kept, or None if there is none or it is damaged."""
    try:
        with path.open("rb") as file:
            table = pq.ParquetFile(file, page_checksum_verification=True).read()
        metadata = table.schema.metadata
        if metadata[b"sha256"].decode() != sha256:
            raise ValueError("it holds another release")
        terms, obsolete = _records(table)
        release = metadata[b"release"].decode()
        return PhenotypeOntology(terms, obsolete=obsolete, release=release, sha256=sha256, source=source)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        logger.warning("The cached ontology %s cannot be read (%s) and is built again.", path, error)
        return None


def _current_row(term: PhenotypeTerm) -> dict:
    return {
        "id": term.id,
        "name": term.name,
        "definition": term.definition,
        "comment": term.comment,
        "synonym_texts": [synonym.text for synonym in term.synonyms],
        "synonym_scopes": [synonym.scope for synonym in term.synonyms],
        "synonym_types": [synonym.type for synonym in term.synonyms],
        "parents": term.parents,
        "alt_ids": term.alt_ids,
        "xrefs": term.xrefs,
        "obsolete": False,
    }


def _obsolete_row(term: ObsoleteTerm) -> dict:
    return {
        "id": term.id,
        "name": term.name,
        "obsolete": True,
        "replaced_by": term.replaced_by,
        "consider": term.consider,
    }


def _records(table: pa.Table) -> tuple[list[PhenotypeTerm], list[ObsoleteTerm]]:
    terms, obsolete = [], []
    for row in zip(*(_values(table[field.name]) for field in _SCHEMA), strict=True):
        term_id, name, definition, comment, texts, scopes, types, *lists, retired, replaced_by, consider = row
        if retired:
            obsolete.append(ObsoleteTerm(term_id, name, replaced_by, consider))
        else:
            synonyms = tuple(map(Synonym, texts, scopes, types))
            terms.append(PhenotypeTerm(term_id, name, definition, comment, synonyms, *lists))
    return terms, obsolete


def _values(column: pa.ChunkedArray) -> list:
    """A column as Python values, lists as tuples; by offsets, since Arrow's own conversion of lists is slow."""
    if column.type != _LIST:
        return column.to_pylist()
    array = column.combine_chunks()
    values = array.values.to_pylist()
    return [tuple(values[start:stop]) for start, stop in pairwise(array.offsets.to_pylist())]
