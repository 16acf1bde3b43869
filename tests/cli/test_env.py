import getpass
import json
from pathlib import Path

from phenolip.cli import env
from phenolip.exceptions import OntologyError


def test_a_bug_report_has_what_it_needs_and_no_name(capsys):
    assert env.run(None) == 0
    text = capsys.readouterr().out
    record = json.loads(text)
    assert record["packages"]["torch"] and record["packages"]["filelock"] and record["hpo_release"]
    assert record["hardware"]["num_cores"] and record["hardware"]["free_disk_gb"]["here"] > 0
    assert record["computing"]["threads"] >= 1 and record["computing"]["blas"] in ("mkl", "other")
    assert "git_commit" in record and record["system"]["name"]
    assert str(Path.home()) not in text and str(Path.cwd()) not in text
    assert f'"{getpass.getuser()}"' not in text


def test_an_ontology_that_is_missing_is_told_without_the_home(capsys, monkeypatch):
    def fail():
        raise OntologyError(f"no {Path.home()}/hp.obo")

    monkeypatch.setattr(env, "load_ontology", fail)
    env.run(None)
    assert json.loads(capsys.readouterr().out)["hpo_release"] == "none: no ~/hp.obo"
