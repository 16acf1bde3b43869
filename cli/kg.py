"""`phenolip kg`: build PhenoKG's tables from articles, run any step alone, describe what was built."""

import argparse
import dataclasses
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from phenolip.cli import kg_filter
from phenolip.cli.kg_models import with_models
from phenolip.exceptions import ConfigurationError, DataError, near_matches
from phenolip.ontology import load_ontology
from phenolip.phenokg.build_config import BuildConfig, make_build, read_settings
from phenolip.phenokg.pipeline import build, run_here
from phenolip.phenokg.ray_engine import run_on_ray
from phenolip.phenokg.record_files import read_records, to_line
from phenolip.phenokg.records import Drop
from phenolip.phenokg.steps import STEPS, Step, attribute_texts, find_step, make_config, settings
from phenolip.whole_files import whole_file

_BUILD = """Articles to the table of image-text pairs, step by step. A run that was stopped goes on where it was; a
changed setting costs only the steps from there on. DIR/tables holds the tables once they are whole; DIR/manifest.json
counts what every step took, gave and dropped, and why; DIR/figures.html shows some figures with what was made of them.

examples:
  phenolip kg build --config phenokg/configs/research.yaml --articles articles --output runs/phenokg
  phenolip kg build --config phenokg/configs/research.yaml --articles articles --output runs/phenokg --engine ray
  phenolip kg build --config phenokg/configs/bucket.yaml --ids ids.txt --articles articles --output runs/phenokg
      fetches the articles of the ids first; articles/ keeps them"""
_RUN = """One step of the construction: records in, records out. What the step leaves out is in FILE.drops.jsonl.

examples:
  phenolip kg run parse_articles --input articles --output articles.jsonl
  phenolip kg run link_phenotypes --input articles.jsonl --output figures.jsonl --mode paper
  phenolip kg run assemble --input figures.jsonl --output pairs.jsonl --media articles"""
_FIELDS = ("articles", "output", "ids", "shard_size", "max_dropped_fraction")
_ENGINES = {"local": run_here, "ray": run_on_ray}
_WIDTH = 110


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the sub-commands `build`, `run`, `filter` and `stats`."""
    commands = parser.add_subparsers(dest="kg_command", required=True, metavar="COMMAND")
    steps = [find_step(name) for name in STEPS]
    form = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    whole = commands.add_parser(
        "build", help="articles to tables, resumable", description=_BUILD, epilog=_settings_text(steps), **form
    )
    whole.add_argument("--config", metavar="FILE", required=True, help="YAML file; the command line wins over it")
    whole.add_argument("--engine", choices=_ENGINES, default="local", help="where shards are worked on (local)")
    defaults = {field.name: field.default for field in dataclasses.fields(BuildConfig)}
    for name, text in attribute_texts(BuildConfig).items():
        if name in _FIELDS:
            default = defaults[name] if defaults[name] is not dataclasses.MISSING else None
            shown = text if default is None else f"{text} (default: {default})"
            whole.add_argument(f"--{name}", metavar="VALUE", help=shown.replace("%", "%%"))
    alone = commands.add_parser("run", help="any step alone", description=_RUN, epilog=_settings_text(steps), **form)
    alone.add_argument("step", metavar="STEP", help=", ".join(STEPS))
    alone.add_argument("--input", metavar="FILE|DIR", required=True, help="records as .jsonl or .parquet, or a folder")
    alone.add_argument("--output", metavar="FILE", required=True, help="JSON lines, a record a line")
    for command in (whole, alone):
        _add_settings(command, steps)
    kg_filter.add_parser(commands)
    stats = commands.add_parser("stats", help="counts and plots of a build's tables", allow_abbrev=False)
    stats.add_argument("folder", metavar="DIR", help="output folder of a build")
    stats.add_argument("--output", metavar="DIR", help="where they go (default: DIR/stats)")
    stats.add_argument("--hpo", metavar="PATH", help="release that the build used, hp.obo or hp.json (the installed)")


def run(args: argparse.Namespace) -> int:
    """Does what was asked for."""
    return {"build": _build, "run": _run_step, "filter": kg_filter.run, "stats": _stats}[args.kg_command](args)


def _build(args: argparse.Namespace) -> int:
    values = read_settings(args.config)
    values |= {name: getattr(args, name) for name in _FIELDS if getattr(args, name) is not None}
    for name, words in _given(args).items():
        step, setting = _place(name, list(values["steps"]), in_build=True)
        values["steps"][step.name][setting] = _value(step, setting, words)
    manifest = build(make_build(values, with_models), _ENGINES[args.engine])
    from phenolip.datasets_scripts.kg_page import write_page  # a template engine, which workers do not need

    page = write_page(values["output"])
    sys.stderr.write(f"{_summary(manifest, values['output'])}Look at {page}\n")
    return 0


def _run_step(args: argparse.Namespace) -> int:
    step = find_step(args.step)
    given = {name.removeprefix(f"{step.name}."): words for name, words in _given(args).items()}
    config = make_config(step, {name: _value(step, name, words) for name, words in given.items()})
    output = Path(args.output)
    drops_path = output.with_suffix(".drops.jsonl")
    dropped: Counter[str] = Counter()
    num_made = 0
    try:
        records = tqdm(read_records(args.input, step.takes), desc=step.name, unit="record", disable=None)
        with whole_file(output, "w") as made, whole_file(drops_path, "w") as left:
            for outcome in with_models(step, config)(records, config):
                if isinstance(outcome, Drop):
                    left.write(to_line(outcome))
                    dropped[outcome.reason] += 1
                else:
                    made.write(to_line(outcome))
                    num_made += 1
    except OSError as error:
        raise DataError(f"Cannot write {output}: {error.strerror or error}.") from None
    sys.stderr.write(f"{num_made:,} records{_reasons(dropped)}: {output}\n")
    return 0


def _stats(args: argparse.Namespace) -> int:
    from phenolip.datasets_scripts.kg_stats import write_stats  # plots, which no other command here needs

    output = Path(args.output or Path(args.folder, "stats"))
    stats = write_stats(args.folder, output, ontology=load_ontology(args.hpo))
    sys.stdout.write(
        f"{stats['num_pairs']:,} pairs of {stats['num_articles']:,} articles, {stats['num_phenotypes']:,} phenotypes: "
        f"{output}/stats.png, stats.json\n"
    )
    return 0


def _add_settings(parser: argparse.ArgumentParser, steps: Sequence[Step]) -> None:
    """Every setting of every step as `--setting` and as `--step.setting`; the epilog says what they are."""
    names = {setting.name for step in steps for setting in settings(step)}
    names |= {f"{step.name}.{setting.name}" for step in steps for setting in settings(step)}
    for name in sorted(names):
        spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")) if "." in name else [f"--{name}"]
        parser.add_argument(
            *spellings, dest=f"setting {name}", nargs="*", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def _given(args: argparse.Namespace) -> dict[str, list[str]]:
    """Settings of steps on the command line, with their words."""
    start = "setting "
    return {name.removeprefix(start): words for name, words in vars(args).items() if name.startswith(start)}


def _place(name: str, steps: Sequence[str], in_build: bool = False) -> tuple[Step, str]:
    """The step that `--setting` or `--step.setting` is of."""
    given, _, setting = name.rpartition(".")
    if given and given not in steps:
        raise ConfigurationError(f"`--{name}`: the build has no step {given}.{near_matches(given, steps)}")
    found = [find_step(step, in_build=in_build) for step in ([given] if given else steps)]
    owners = [step for step in found if setting in (known.name for known in settings(step))]
    if len(owners) != 1:
        choices = " or ".join(f"--{step.name}.{setting}" for step in owners)
        problem = f"write {choices}" if owners else "no step of the build has it"
        raise ConfigurationError(f"`--{name}` is not clear: {problem}.")
    return owners[0], setting


def _value(step: Step, name: str, words: Sequence[str]) -> str | list[str]:
    """A setting's value from its words; a flag without one is switched on."""
    known = {setting.name: setting for setting in settings(step)}
    if name in known and known[name].takes_many:
        return list(words)
    if len(words) > 1:
        raise ConfigurationError(f"`--{name}` takes one value, got {' '.join(words)!r}.")
    return words[0] if words else "true"


def _settings_text(steps: Sequence[Step]) -> str:
    """The settings of every step, for `--help`."""
    lines = []
    for step in steps:
        lines += ["", f"settings of {step.name} (--setting VALUE, or --{step.name}.setting VALUE):"]
        for setting in settings(step):
            default = "needed" if setting.default is None else f"default: {setting.default or 'none'}"
            text = f"{setting.help} ({default})"
            indents = {"initial_indent": f"  --{setting.name:<22} ", "subsequent_indent": " " * 27}
            lines += textwrap.wrap(text, _WIDTH, **indents)
    return "\n".join(lines).strip()


def _summary(manifest: Mapping[str, Any], output: str) -> str:
    lines = [
        f"{name:<16} {counts['in']:>10,} in {counts['out']:>10,} out{_reasons(counts['dropped'])}"
        for name, counts in manifest["steps"].items()
    ]
    splits = ", ".join(f"{number:,} {name}" for name, number in manifest["splits"].items())
    lines.append(f"Pairs: {splits}. Tables: {Path(output, 'tables')}")
    if not any(manifest["splits"].values()):
        lines.append("No pair is left: the reasons are above, the keys in tables/drops.parquet.")
    return "\n".join(lines) + "\n"


def _reasons(dropped: Mapping[str, int]) -> str:
    ordered = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f", {number:,} {reason}" for reason, number in ordered)
