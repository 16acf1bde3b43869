"""`phenolip compare` from its arguments to its output; the runs come from the baseline on a small release."""

import argparse
import json
import shutil

import pytest

from phenolip.cli import compare as compare_command
from phenolip.cli import eval as eval_command
from phenolip.eval.run import evaluate
from phenolip.exceptions import ConfigurationError
from phenolip.ontology.text import is_held_out


def call(*arguments):
    parser = argparse.ArgumentParser()
    compare_command.add_arguments(parser)
    return compare_command.run(parser.parse_args(list(map(str, arguments))))


@pytest.fixture(scope="module")
def run_dirs(tmp_path_factory):
    """The same baseline twice, on a release of one root and ten terms."""
    folder = tmp_path_factory.mktemp("runs")
    lines = ["format-version: 1.2", "data-version: hp/releases/2000-01-01", "", "[Term]", "id: HP:0000118", "name: R"]
    for number in range(10):
        hpo_id = f"HP:{number + 200:07d}"
        synonym = next(text for n in range(500) if is_held_out(hpo_id, text := f"sign{number} v{n}"))
        parent = "HP:0000118" if number == 0 else "HP:0000200"
        lines += ["", "[Term]", f"id: {hpo_id}", f"name: Sign{number}", f'synonym: "{synonym}" EXACT []']
        lines += [f"is_a: {parent}"]
    (folder / "hp.obo").write_text("\n".join(lines) + "\n")
    evaluate("tfidf", "knowledge", None, folder / "a", hpo=folder / "hp.obo")
    for name in ("b", "c"):
        shutil.copytree(folder / "a", folder / name)
    return [folder / name for name in ("a", "b", "c")]


def test_prints_and_writes_markdown_and_json(run_dirs, tmp_path, capsys):
    a, b, c = run_dirs
    for name in ("table.md", "deep/table.json"):
        assert call(a, f"{b},{c}", "--mean", "--output", tmp_path / name) == 0
    printed = capsys.readouterr().out
    assert "Task: knowledge 2" in printed and "[+0.0, +0.0]" in printed and "Written: " in printed
    assert (tmp_path / "table.md").read_text().startswith("| run | `synonym_to_name_hit_at_1`")
    rows = json.loads((tmp_path / "deep" / "table.json").read_text())["rows"]
    assert [row["models"] for row in rows] == [["tfidf"], ["tfidf", "tfidf"]]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["{a}", "{b}", "--output", "table.csv"], "`output` must end in .md or .json, got table.csv"),
        (["{a}", "{a}"], "`runs` must name each folder once"),
        (["{a},{b}", "{b}"], "`runs` must name each folder once"),
        (["{a}", "none"], "must be a folder that `phenolip eval` wrote, got none"),
        (["{a},", "{b}"], "must be a folder that `phenolip eval` wrote"),
    ],
)
def test_wrong_calls_are_named(run_dirs, arguments, match):
    a, b, _ = run_dirs
    with pytest.raises(ConfigurationError, match=match):
        call(*(argument.format(a=a, b=b) for argument in arguments))


def test_help_says_how_seeds_are_given(capsys):
    with pytest.raises(SystemExit):
        call("--help")
    assert "joined by commas" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_eval_prints_the_breakdown_when_asked(run_dirs, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    eval_command.add_arguments(parser)
    options = ["--model", "tfidf", "--task", "knowledge", "--hpo", run_dirs[0].parent / "hp.obo", "--output", tmp_path]
    assert eval_command.run(parser.parse_args(list(map(str, options)))) == 0
    assert "by system" not in (printed := capsys.readouterr().out) and "report.html" in printed
    assert eval_command.run(parser.parse_args([*map(str, options), "--breakdown"])) == 0
    rows = [line.split() for line in capsys.readouterr().out.split("by system")[1].splitlines()]
    assert ["Sign0", "100.0", "100.0", "10"] in rows and ["2", "100.0", "100.0", "9"] in rows
