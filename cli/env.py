"""`phenolip env`: what a bug report should say of this machine."""

import argparse
import json
import sys

from phenolip.exceptions import OntologyError
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import git_commit, hardware, package_versions

HELP = "versions, hardware and HPO release, for a bug report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments of its own."""


def run(args: argparse.Namespace) -> int:
    """Prints JSON."""
    try:
        release = load_ontology().release
    except OntologyError as error:
        release = f"none: {error}"
    record = {
        "git_commit": git_commit(),
        "hpo_release": release,
        "packages": package_versions(),
        "hardware": hardware(),
    }
    sys.stdout.write(json.dumps(record, indent=2) + "\n")
    return 0
