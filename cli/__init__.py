"""The command `phenolip`: one module a sub-command, each with `add_arguments` and `run`.

A module imports torch, transformers and datasets in `run`, so that `--help` and a wrong call answer at once.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from phenolip import __version__
from phenolip.command_line import fold_flag, printable
from phenolip.exceptions import ConfigurationError, PhenoLIPError, near_matches

COMMANDS = {
    "ontology": "show a phenotype term, or count what an HPO release holds",
    "link": "link texts to phenotypes of the ontology",
    "extract": "extract findings, with severity, location and assertion, from reports and captions",
    "kg": "build PhenoKG's tables from articles, run one step alone, or describe what was built",
    "prepare": "make data ready: phenobench or phenokg, a split of your pairs, images and reports, phantoms, "
    "compound figures",
    "audit": "find what a benchmark shares with training data, or what one table holds twice",
    "bench": "make a benchmark that experts have verified: draw, review sheet, merge, freeze",
    "eval": "measure a model on a task and write a report",
    "compare": "compare runs of one task query by query",
    "published": "show the papers' tables, check their arithmetic, set a run beside them",
    "predict": "rank phenotypes for images",
    "thresholds": "fit the thresholds of findings on validation pairs and keep them beside a model",
    "similarity": "compare an image with a finding as a template, with severity and location, and as an explanation",
    "anonymise": "copy images without names, EXIF, text chunks and DICOM tags",
    "forget": "remove rows from tables, images, embeddings, indexes, caches and report pages",
    "embed": "embeddings of images and captions as Parquet, for `phenolip search`",
    "search": "find images or captions by text, picture or phenotype",
    "explain": "show which regions of an image, and which neighbours in the ontology, carry a phenotype's score",
    "demo": "serve a page to try a model in a browser: phenotypes of an image, images of a text, maps, the tree",
    "convert": "convert open_clip checkpoints to PhenoLIP folders, and back",
    "merge": "merge a LoRA or DoRA adapter into its model",
    "join": "join models of several seeds to one whose scores are the means of theirs",
    "export": "export to ONNX or sentence-transformers",
    "card": "write the card (README.md) of a model folder",
    "push": "send a model or data set to the Hub",
    "quickstart": "run the whole chain on drawn phantoms or on your own image-caption pairs",
    "mini": "train the strongest model that two CPU cores can in an hour, on your own image-caption pairs",
    "ablation": "train and compare the rows of the ablation table, several seeds each",
    "env": "versions, hardware, threads, disk and HPO release, for a bug report; no name of a person or of a folder",
}


class _OneSentenceParser(argparse.ArgumentParser):
    """Ends a wrong call with one sentence instead of the usage of every flag."""

    def error(self, message: str) -> None:
        raise ConfigurationError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Parser of `command` alone with its arguments, or of all by name, for which no module is imported."""
    parser = _OneSentenceParser(
        prog="phenolip",
        description="Phenotype-aware medical vision-language models. For research, not for diagnosis.",
        epilog="--debug, anywhere, shows the traceback of a failure.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"phenolip {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_OneSentenceParser)
    for name, text in COMMANDS.items():
        if command in (None, name):
            subparser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    if command is not None:
        module = import_module(f"phenolip.cli.{command}")
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command and returns its exit code: 0 done, 1 the work failed, 2 the call was wrong."""
    argv = [fold_flag(token) for token in (sys.argv[1:] if argv is None else argv)]
    debug = "--debug" in argv
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        return _dispatch([token for token in argv if token != "--debug"])
    except PhenoLIPError as error:
        if debug:
            raise
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return 2 if isinstance(error, ConfigurationError) else 1
    except ModuleNotFoundError as error:
        if debug or error.name is None or error.name.startswith("phenolip"):
            raise
        sys.stderr.write(f"error: This command needs the package {error.name}; docs/ says which extra has it.\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped.\n")
        return 130


def _dispatch(argv: Sequence[str]) -> int:
    first = argv[0] if argv else "--help"
    if not first.startswith("-") and first not in COMMANDS:
        raise ConfigurationError(f"Unknown command '{first}'.{near_matches(first, COMMANDS)}")
    parser = build_parser(first if first in COMMANDS else None)
    args = parser.parse_args(argv or ["--help"])
    return args.run(args)
