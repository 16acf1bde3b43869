"""Every command of the README and the pages: each parses with the flags it names, and those that can be are run."""

import re
import shlex
from collections import Counter
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from phenolip.cli import COMMANDS, build_parser, main
from phenolip.command_line import fold_flag

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM = re.compile(r"([A-Z_]+=\S+ )*(phenolip|accelerate|python|make|pip|mkdocs) ")
STAGES = {
    "train/stage1.py": (
        "phenolip.train.stage1",
        ("EncoderArguments", "OntologyArguments", "ConceptLossArguments", "KnowledgeEvaluationArguments"),
    ),
    "train/stage2.py": ("phenolip.train.stage2_arguments", ("ModelArguments", "DataArguments", "LossArguments")),
}
# Those that need nothing but the package, run here.
RUN = ("phenolip ontology show", "phenolip link --text", "phenolip extract --text", "phenolip published phenolip_zero")
# The others and why not; the first that fits counts.
REASONS = {
    "runs a server or a page until it is stopped": r"phenolip demo|demo_load|hub_server",
    "installs packages": r"pip |venv-open-clip",
    "needs the Hub": r"phenolip push|HF_ENDPOINT|openai/|google/|Qwen/|microsoft/",
    "needs a model server": r"openai_compatible",
    "trains or builds for minutes": r"accelerate|make |ablation|kg build|fit_separators|train_glyphs|composites",
    "needs articles, figures, captions or tables of your own": r"kg |audit|bench |prepare|refine|extract|link",
    "needs a trained model": r"--model|runs/|convert|export|merge|card|explain|search|embed|thresholds|compare",
    "measures for minutes on your own data": r"benchmarks/|python -[cm]",
    "is run by the test of its command": r"phenolip (published|ontology)",
}


def commands():
    """(page, command) of each line of a code block that begins with a program; comments are cut, lines joined."""
    found = []
    for page in PAGES:
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M):
            if language in ("", "bash", "sh", "shell", "console"):
                lines = re.sub(r"\\\n\s*", "", block).splitlines()
                found += [(page.name, plain(line)) for line in lines if PROGRAM.match(line)]
    return found


def plain(line):
    """The command without the words beside it: after two blanks or a #."""
    return re.split(r"\s{2,}|\s#\s", line.strip())[0]


FOUND = commands()


def check_phenolip(words):
    words = [fold_flag(word) for word in words]
    assert words[0] in COMMANDS, f"no command {words[0]}"
    build_parser(words[0]).parse_args(words)


def check_script(script, words):
    """A training script knows its settings; of any other, the source names the flags."""
    flags = [word.split("=")[0].lstrip("-").replace("-", "_") for word in words if word.startswith("--")]
    if script in STAGES:
        module, kinds = STAGES[script]
        kinds = [getattr(import_module(module), kind) for kind in kinds]
        kinds += [import_module("phenolip.train.arguments").RunArguments]
        known = {entry.name for kind in kinds for entry in fields(kind)} | {"config"}
        assert set(flags) <= known, set(flags) - known
        for place, word in enumerate(words):
            assert word != "--config" or (ROOT / words[place + 1]).is_file(), words[place + 1]
    else:
        source = (ROOT / script).read_text(encoding="utf-8")
        if "add_argument" in source:
            missing = [flag for flag in flags if not re.search(rf"\b{flag}\b", source)]
            assert not missing, missing


def check(command):
    words = shlex.split(command.replace("[", "").replace("]", "") if "pip" not in command else command)
    words = [word for place, word in enumerate(words) if place or "=" not in word]
    while "=" in words[0]:
        words = words[1:]
    program, *rest = words
    if program == "phenolip":
        check_phenolip([word for word in rest if word != "..."])
    elif program == "accelerate":
        script = next(word for word in rest if word.endswith(".py"))
        check_script(script, rest[rest.index(script) + 1 :])
    elif program == "python" and rest[0] == "-m":
        assert find_spec(rest[1]), rest[1]
    elif program == "python" and rest[0].endswith(".py"):
        check_script(rest[0], rest[1:])
    elif program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.M), rest[0]
    elif program == "pip":
        for extras in re.findall(r"\[([\w,]+)\]", command):
            assert all(f'"{extra}": ' in (ROOT / "setup.py").read_text() for extra in extras.split(",")), extras


@pytest.mark.parametrize(("page", "command"), FOUND, ids=[page for page, _ in FOUND])
def test_a_command_parses(page, command):
    if '"' in command and command.count('"') % 2:
        pytest.skip("goes on over lines in quotes")
    try:
        check(command)
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}")


def why_not(command):
    return next((reason for reason, pattern in REASONS.items() if re.search(pattern, command)), None)


def test_every_command_is_run_or_says_why_not(record_property):
    unmarked = [command for _, command in FOUND if not command.startswith(RUN) and why_not(command) is None]
    assert not unmarked
    counts = Counter(why_not(command) for _, command in FOUND if not command.startswith(RUN))
    record_property("not_run", dict(counts))
    assert len(FOUND) > 100 and set(counts) == set(REASONS)  # no reason that nothing needs


@pytest.mark.parametrize("command", sorted({command for _, command in FOUND if command.startswith(RUN)}))
def test_a_command_runs(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path):
    build = pytest.importorskip("mkdocs.commands.build")
    load_config = pytest.importorskip("mkdocs.config").load_config
    pytest.importorskip("mkdocstrings")
    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site"))
    config.plugins.on_startup(command="build", dirty=False)
    build.build(config)
    assert (tmp_path / "site" / "api" / "index.html").is_file()
