"""`phenolip link`: rows in, rows out, and what is wrong with a row said in one sentence."""

import json

import pytest

from phenolip.cli import main


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_rows_in_rows_out(tmp_path, capsys):
    source = write(tmp_path / "docs.jsonl", {"doc_id": 7, "text": "No fever, long fingers."}, {"uid": "b", "text": ""})
    assert main(["link", "--input", source, "--output", str(tmp_path / "deep" / "links.jsonl")]) == 0
    first, second = map(json.loads, (tmp_path / "deep" / "links.jsonl").read_text().splitlines())
    assert first["doc_id"] == "7" and second == {"doc_id": "b", "links": []}
    assert [(link["surface"], link["assertion"]) for link in first["links"]] == [
        ("fever", "absent"), ("long fingers", "absent"),
    ]  # fmt: skip
    assert {"hpo_id", "start", "end", "surface", "assertion", "score"} <= first["links"][0].keys()
    assert "2 texts, 2 links, 0 bad lines" in capsys.readouterr().err


def test_one_text_is_a_table(capsys):
    assert main(["link", "--text", "Cataracts, no seizures."]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:3] == ["HP:0000518", "Cataract", "present"] and "absent" in second


def test_paper_mode(tmp_path, capsys):
    assert main(["link", "--text", "ear canal stenosis", "--mode", "paper"]) == 0
    assert "Anal stenosis" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 2: "),
        ("[1]", "line 2: a JSON object is needed."),
        ({"text": "x"}, 'line 2: "doc_id" must be a text or a number.'),
        ({"doc_id": "1"}, 'line 2: "text" must be a text.'),
    ],
)
def test_a_bad_row_is_an_error_and_leaves_no_file(tmp_path, capsys, row, message):
    source = write(tmp_path / "docs.jsonl", {"doc_id": "a", "text": ""}, row)
    assert main(["link", "--input", source, "--output", str(tmp_path / "links.jsonl")]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["docs.jsonl"]


def test_bad_rows_up_to_a_share_are_counted(tmp_path, capsys):
    rows = [{"doc_id": str(number), "text": ""} for number in range(9)]
    source, output = write(tmp_path / "docs.jsonl", *rows, "{"), str(tmp_path / "links.jsonl")
    assert main(["link", "--input", source, "--output", output, "--max-bad-fraction", "0.1"]) == 0
    assert "9 texts, 0 links, 1 bad lines" in capsys.readouterr().err
    assert main(["link", "--input", source, "--output", output, "--max-bad-fraction", "0.05"]) == 1
    assert "1 of 10 lines are bad" in capsys.readouterr().err


def test_calls_that_are_wrong(tmp_path, capsys):
    assert main(["link", "--input", "x.jsonl"]) == 2
    assert "`--input` and `--output` go together" in capsys.readouterr().err
    assert main(["link", "--input", str(tmp_path / "none"), "--output", str(tmp_path / "o")]) == 1
    assert "Cannot read `--input`" in capsys.readouterr().err
