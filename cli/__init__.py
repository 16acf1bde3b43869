"""The command `phenolip`: one module a sub-command, each with HELP, `add_arguments` and `run`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from phenolip import __version__
from phenolip.command_line import fold_flag
from phenolip.exceptions import ConfigurationError, PhenoLIPError, near_matches

COMMANDS = (
    *("ontology", "link", "extract", "kg", "prepare", "audit", "bench", "eval", "compare", "published", "predict"),
    *("thresholds", "similarity", "anonymise", "embed", "search", "explain", "demo"),
    *("convert", "merge", "export", "card", "push", "quickstart", "mini", "ablation", "env"),
)


class _OneSentenceParser(argparse.ArgumentParser):
    """Ends a wrong call with one sentence instead of the usage of every flag."""

    def error(self, message: str) -> None:
        raise ConfigurationError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Parser of all sub-commands; only the module of `command` is imported, or all where none is given."""
    parser = _OneSentenceParser(
        prog="phenolip",
        description="Phenotype-aware medical vision-language models. For research, not for diagnosis.",
        epilog="--debug, anywhere, shows the traceback of a failure.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"phenolip {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_OneSentenceParser)
    for name in COMMANDS if command is None else (command,):
        try:
            module = import_module(f"phenolip.cli.{name}")
        except ModuleNotFoundError as error:
            if command is not None or error.name is None or error.name.startswith("phenolip"):
                raise
            commands.add_parser(name, help=f"(needs the package {error.name})")  # the others can still be shown
            continue
        subparser = commands.add_parser(name, help=module.HELP, description=module.HELP, allow_abbrev=False)
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
        sys.stderr.write(f"error: {error}\n")
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
