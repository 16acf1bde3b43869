import json
import subprocess
import sys

import pytest

from phenolip.cli import COMMANDS, main
from phenolip.cli.chain import Step, run_steps
from phenolip.cli.quickstart import plan_steps
from phenolip.exceptions import PhenoLIPError


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["evl"], 2, "Unknown command 'evl'. Close: 'eval'"),
        (["predict"], 2, "The following arguments are required: IMAGE, --model"),
        (["eval", "--task", "phenobnch", "--model", "x", "--output", "y"], 2, "phenobench"),
        (["ontology", "show", "HP:9999999"], 1, "HP:9999999"),
        (["prepare", "split", "--source", "./absent/folder", "--output", "y"], 1, "absent/folder"),
    ],
)
def test_mistakes_end_with_one_sentence(argv, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error


def test_debug_lets_the_error_through(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PhenoLIPError):
        main(["ontology", "show", "HP:9999999", "--debug"])


def test_a_missing_package_is_named():
    code = "import sys; sys.modules['msgspec'] = None; from phenolip.cli import main; sys.exit(main(sys.argv[1:]))"
    ended = subprocess.run([sys.executable, "-c", code, "link", "--text", "x"], capture_output=True, text=True)
    assert ended.returncode == 1 and "needs the package msgspec" in ended.stderr
    ended = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0 and "link" in ended.stdout and "predict" in ended.stdout


HEAVY = {"torch", "transformers", "datasets", "matplotlib", "scipy", "pandas"}
PRINT_HEAVY = f"import atexit, sys; atexit.register(lambda: print('loaded', sorted({HEAVY} & set(sys.modules))));"


@pytest.mark.parametrize("argv", [None, ["--help"], ["predict", "--help"], ["eval", "--help"], ["search", "x"]])
def test_the_command_line_answers_before_anything_heavy_is_loaded(argv):
    call = "" if argv is None else f"phenolip.cli.main({argv})"
    ended = subprocess.run(
        [sys.executable, "-c", f"{PRINT_HEAVY} import phenolip.cli; {call}"], capture_output=True, text=True
    )
    assert ended.returncode == 0 and ended.stdout.endswith("loaded []\n"), ended.stdout[-300:] + ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0 and "usage: phenolip" in capsys.readouterr().out


def test_env_prints_json(capsys):
    assert main(["env"]) == 0
    assert json.loads(capsys.readouterr().out)["hpo_release"]


def test_quickstart_repeats_only_what_changed(tmp_path):
    log = tmp_path / "log"

    def steps(*words):
        script = f"from pathlib import Path; import sys; Path({str(log)!r}).open('a').write(sys.argv[1] + ' ')"
        return [Step(str(i), "t", [sys.executable, "-c", script, word], log) for i, word in enumerate(words)]

    record = tmp_path / "steps.json"
    run_steps(steps("a", "b", "c"), record, fresh=False)
    run_steps(steps("a", "b", "c"), record, fresh=False)
    assert log.read_text() == "a b c "
    run_steps(steps("a", "B", "c"), record, fresh=False)  # what follows a changed step is repeated too
    assert log.read_text() == "a b c B c "
    run_steps(steps("a", "B", "c"), record, fresh=True)
    assert log.read_text() == "a b c B c a B c "
    log.unlink()  # what is gone is made again
    run_steps(steps("a", "B", "c"), record, fresh=False)
    assert log.read_text() == "a "


def test_quickstart_resumes_an_interrupted_step_and_names_it(tmp_path, capfd):
    code = "import sys; sys.exit('--resume' not in sys.argv)"
    failing = Step("stage1", "t", [sys.executable, "-c", code], tmp_path, resumable=True)
    with pytest.raises(PhenoLIPError, match="Step 'stage1' ended with exit code 1"):
        run_steps([failing], tmp_path / "steps.json", fresh=False)
    run_steps([failing], tmp_path / "steps.json", fresh=False)
    assert "--resume true" in capfd.readouterr().out


def test_quickstart_plans_the_whole_chain(tmp_path):
    names = [step.name for step in plan_steps(tmp_path, None)]
    assert names == ["ontology", "stage1", "data", "stage2", "eval", "baseline"]
    with_data = plan_steps(tmp_path, "my_pairs")
    assert "my_pairs" in with_data[2].command
    assert any(part.endswith("quickstart_pairs_stage2.yaml") for part in with_data[3].command)


def test_mini_without_data_is_one_sentence(capsys):
    assert main(["mini"]) == 2
    assert "--data" in capsys.readouterr().err
