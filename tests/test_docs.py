"""Every command of the README and the pages: each parses with the flags it names, and those that can be are run.

`-rP` shows how many are run, and for every reason how many are not.
"""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState
from PIL import Image

from phenolip.cli import COMMANDS, build_parser, main
from phenolip.command_line import fold_flag
from phenolip.modeling_phenolip import PhenoLIPTextModel

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONVERTED = ROOT / "tests" / "fixtures" / "converted"
PROGRAM = re.compile(r"([A-Z_]+=\S+ )*(phenolip|accelerate|python|make|pip|mkdocs) ")
STAGES = {
    "train/stage1.py": (
        "phenolip.train.stage1",
        ("EncoderArguments", "OntologyArguments", "ConceptLossArguments", "KnowledgeEvaluationArguments"),
    ),
    "train/stage2.py": ("phenolip.train.stage2_arguments", ("ModelArguments", "DataArguments", "LossArguments")),
}
# Regular expressions of what is run here word for word, each group in its order; `workplace` has what the pages name.
RUN = {
    "texts": (
        "phenolip ontology show", "phenolip ontology explain", "phenolip link --text", "phenolip link --input",
        "phenolip extract --text",
        "phenolip extract --input reports.jsonl --output findings.jsonl$",
        "phenolip published( phenolip_zero_shot| all .*)?$",
        "phenolip kg run split_captions", "phenolip kg run parse_articles",
    ),
    "predict": (
        "phenolip predict IMAGE.png", "phenolip predict images --model runs/mini/stage2 --candidates",
        "phenolip predict images --model runs/mini/stage2 --top 3 --format", "phenolip explain IMAGE.png",
    ),
    "search": ("phenolip embed", "phenolip search"),
    "evaluate": (
        "phenolip prepare split --source DIR --output runs/my_split",
        "phenolip eval --model runs/quickstart/stage2 --task phenobench ",
        "phenolip eval --model runs/mini/stage2 --task phenobench --data DIR",
        "phenolip compare runs/my_eval runs/other_eval", "phenolip card DIR", "phenolip push DIR ORG/NAME --dry_run",
        "phenolip join",
    ),
}  # fmt: skip
RUN_SLOWLY = {
    "ontology": (
        "phenolip predict tooth.jpg", "phenolip predict images --model runs/mini/stage2 --under",
        "phenolip eval --model runs/mini/stage2 --task phenobench_ontology", "python benchmarks/zero_shot_weights.py",
    ),
    "full": (
        "phenolip eval --model runs/quickstart/stage2 --task phenobench_full", "phenolip card runs/quickstart/stage2",
        "phenolip published phenolip_retrieval --beside",
        "phenolip eval --model runs/quickstart/stage1 --task knowledge",
    ),
    "adapt": (
        "phenolip prepare split --source my_folder",
        "accelerate launch train/stage2.py --config train/configs/adapt.yaml",
        "phenolip eval --model runs/mini/stage2 --task phenobench --data runs/hospital",
        "phenolip eval --model runs/adapted", "phenolip compare runs/eval_before", "phenolip predict my_folder",
        "phenolip merge",
    ),
    "stages": (
        "accelerate launch train/stage1.py --config train/configs/mini_stage1.yaml",
        "accelerate launch train/stage2.py --config train/configs/mini_stage2.yaml",
    ),
    "export": ("phenolip export onnx", "phenolip export sentence_transformers"),
    "convert": ("phenolip convert open_clip CHECKPOINT", "phenolip convert check", "phenolip convert phenolip"),
    "figures": (
        "phenolip kg run detect_subfigures --input figures", "phenolip kg run filter_figures --input figures",
        "phenolip kg filter cluster", "phenolip kg filter review", "phenolip audit T", "phenolip prepare composites",
    ),
}  # fmt: skip
GROUPS = {**RUN, **RUN_SLOWLY}
NEEDS = {
    "texts": ("lxml", "ahocorasick_rs", "msgspec"),
    "adapt": ("peft",),
    "export": ("onnx", "onnxruntime", "onnxscript", "sentence_transformers"),
}
# Settings added to a training command, so that it ends.
SHORT = ["--max_steps", "1", "--batch_size", "4", "--num_threads", "1"]
SHORT_STAGE1 = ["--evaluation_names", "50", "--evaluation_definitions", "10"]
SHORT_STAGE2 = ["--image_size", "64"]
MODELS = re.compile(r"phenolip (card|push|export|convert) ")  # a DIR of theirs is a model, elsewhere it is data
# The others and why not; the first that fits counts.
REASONS = {
    "runs a server or a page until it is stopped": r"phenolip demo|demo_load|hub_server",
    "installs packages": r"pip |venv-open-clip",
    "needs the Hub": r"HF_TOKEN|HF_ENDPOINT|openai/|google/|Qwen/|microsoft/|fetch_articles",
    "needs a model server": r"openai_compatible",
    "trains or builds for minutes": r"accelerate|make |ablation|build|fit_separators|train_glyphs|composites|phantom",
    "needs articles, figures or tables of your own": r" kg |audit|bench (build|draw)|prepare|extract|anonymise|forget",
    "needs a model or runs of your own": r"--model|runs/|compare",
    "measures for minutes on your own data": r"benchmarks/|python -[cm]",
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


def group_of(command):
    return next((group for group, starts in GROUPS.items() if re.match("|".join(starts), command)), None)


def why_not(command):
    return next((reason for reason, pattern in REASONS.items() if re.search(pattern, command)), None)


def test_every_command_is_run_or_says_why_not():
    groups = [group_of(command) for _, command in FOUND]
    unmarked = [
        command for (_, command), group in zip(FOUND, groups, strict=True) if group is None and not why_not(command)
    ]
    assert not unmarked
    counts = Counter(why_not(command) for (_, command), group in zip(FOUND, groups, strict=True) if group is None)
    assert set(counts) == set(REASONS)  # no reason that nothing needs
    fast, slow = (sum(group in chosen for group in groups) for chosen in (RUN, RUN_SLOWLY))
    print(f"{len(FOUND)} commands: {fast} run, {slow} run among the slow tests, {counts.total()} parsed alone:")
    for reason, number in counts.most_common():
        print(f"{number:5d}  {reason}")
    assert fast >= 25 and fast + slow >= 60  # what is run is not to become less


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, tiny_model_dir, draw_signs):
    """A folder with what the pages' commands name: small models, drawn images, a few lines of text."""
    folder = tmp_path_factory.mktemp("workplace")
    images = draw_signs(folder / "images", 4, 64)
    for name in ("DIR", "my_folder", "PAIRS", "TRAIN", "BENCH", "TABLE", "figures"):
        shutil.copytree(images, folder / name)
    for name in ("IMAGE.png", "tooth.jpg", "hand.jpg"):
        Image.open(images / "0.png").save(folder / name)
    (folder / "few.txt").write_text("HP:0000518\nArachnodactyly\n")
    candidates = [{"hpo_id": "HP:0000518", "name": "Cataract"}, {"hpo_id": "HP:0001166", "name": "Arachnodactyly"}]
    for name in ("quickstart", "mini"):
        shutil.copytree(tiny_model_dir, folder / "runs" / name / "stage2")
        (folder / "runs" / name / "stage2" / "phenotypes.json").write_text(json.dumps(candidates))
        shutil.copytree(tiny_model_dir, folder / "runs" / name / "stage1", ignore=no_weights)
        PhenoLIPTextModel.from_pretrained(tiny_model_dir).save_pretrained(folder / "runs" / name / "stage1")
    for seed in ("0", "1"):
        shutil.copytree(tiny_model_dir, folder / "runs" / "seeds" / seed)
    write_lines(folder / "docs.jsonl", [{"doc_id": "1", "text": "His fingers were long."}])
    write_lines(folder / "reports.jsonl", [{"doc_id": "1", "text": "Small left effusion."}])
    write_lines(folder / "captions.jsonl", [{"figure": "f1", "caption": "Chest CT. (A) Normal lung. (B) A nodule."}])
    maker = importlib.util.spec_from_file_location("make_fixtures", CONVERTED / "make_fixtures.py")
    fixtures = importlib.util.module_from_spec(maker)
    maker.loader.exec_module(fixtures)
    fixtures.write_checkpoint(CONVERTED / "biomedclip", folder / "CHECKPOINT")
    (folder / "articles").mkdir()
    (folder / "articles" / "1.xml").write_text(
        "<article><front><article-meta><article-id pub-id-type='pmc'>1</article-id></article-meta></front>"
        "<body><fig id='f1'><label>Figure 1</label><caption><p>Long fingers.</p></caption></fig></body></article>"
    )
    return folder


def no_weights(folder, names):
    return [name for name in names if not name.startswith(("tokenizer", "special_tokens"))]


def write_lines(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(command):
    """Exit code of a command in this process, without what it has in brackets; training commands take one step."""
    program, *words = shlex.split(re.sub(r" \[.*\]", "", command))
    if program == "phenolip":
        if MODELS.match(command):
            words = ["runs/quickstart/stage2" if word == "DIR" else word for word in words]
        return main(words)
    script = next(word for word in words if word.endswith(".py"))
    words = [str(ROOT / word) if word.startswith("train/configs/") else word for word in words]
    words = words[[word.endswith(".py") for word in words].index(True) + 1 :]
    if script.startswith("train/"):
        AcceleratorState._reset_state(True)
        more = SHORT_STAGE1 if "stage1" in script else [] if "--init_from" in words else SHORT_STAGE2
        return import_module(STAGES[script][0].removesuffix("_arguments")).main([*words, *SHORT, *more])
    return subprocess.run([sys.executable, ROOT / script, *words]).returncode


SLOW = [pytest.param(group, marks=pytest.mark.slow) for group in RUN_SLOWLY]


@pytest.mark.parametrize("group", [*RUN, *SLOW])
def test_commands_run(group, workplace, monkeypatch, capsys):
    for name in NEEDS.get(group, ()):
        pytest.importorskip(name)
    monkeypatch.chdir(workplace)
    for pattern in GROUPS[group]:
        found = list(dict.fromkeys(command for _, command in FOUND if re.match(pattern, command)))
        assert found, f"no page has a command like: {pattern}"
        for command in found:
            code = run(command)
            assert not code, f"{command} ended with {code}: {capsys.readouterr().err}"


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path):
    build = pytest.importorskip("mkdocs.commands.build")
    load_config = pytest.importorskip("mkdocs.config").load_config
    pytest.importorskip("mkdocstrings")
    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site"))
    config.plugins.on_startup(command="build", dirty=False)
    build.build(config)
    assert (tmp_path / "site" / "api" / "index.html").is_file()
