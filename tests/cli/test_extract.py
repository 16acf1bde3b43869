"""`phenolip extract`: rows in, rows out, going on where a run stopped, what is said before text leaves the machine."""

import json

import pytest

from phenolip.cli import main

REPORT = "Mild left basilar atelectasis. No pleural effusion."


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def call(tmp_path):
    """Extracts rows and returns the exit code; the findings lie in out/found.jsonl."""

    def extract(*rows, flags=()):
        source = write(tmp_path / "docs.jsonl", *rows)
        return main(["extract", "--input", source, "--output", str(tmp_path / "out" / "found.jsonl"), *flags])

    extract.found = tmp_path / "out" / "found.jsonl"
    extract.report = tmp_path / "out" / "found.report.json"
    return extract


def test_rows_in_rows_out(call, capsys):
    rows = ({"doc_id": 7, "text": REPORT, "mesh": ["x"]}, {"uid": "b", "text": ""}, {"uid": 3, "text": REPORT})
    assert call(*rows) == 0
    first, second, third = rows_of(call.found)
    assert (first["doc_id"], second["doc_id"], second["uid"], third["uid"]) == (7, "b", "b", 3)
    assert second["findings"] == [] and second["status"] == "empty"
    finding, denied = first["findings"]
    assert {key: finding[key] for key in ("category", "severity", "location", "assertion", "hpo_id")} == {
        "category": "atelectasis", "severity": "mild", "location": "left basilar", "assertion": "present",
        "hpo_id": "HP:0100750",
    }  # fmt: skip
    assert REPORT[finding["start"] : finding["end"]] == "atelectasis" and denied["assertion"] == "absent"
    counts = json.loads(call.report.read_text())
    assert (counts["num_documents"], counts["num_ok"], counts["num_empty"], counts["num_findings"]) == (3, 2, 1, 4)
    shown = capsys.readouterr().err
    assert "3 documents: 2 with findings" in shown and "atelectasis" not in shown
    assert sorted(path.name for path in call.found.parent.iterdir()) == ["found.jsonl", "found.report.json"]


def test_one_text_is_a_table(capsys):
    assert main(["extract", "--text", REPORT]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["present", "mild", "left", "basilar", "atelectasis", "HP:0100750"] and "absent" in second
    assert main(["extract", "--text", "Nothing."]) == 0 and "No finding" in capsys.readouterr().out


def test_a_run_goes_on_where_it_was(call):
    rows = [{"doc_id": number, "text": f"{REPORT} Report {number}."} for number in range(3)]
    assert call(*rows) == 0
    whole = call.found.read_text()
    lines = whole.splitlines(keepends=True)
    call.found.unlink()
    partial = call.found.with_name("found.jsonl.partial")
    partial.write_text(lines[1] + lines[2][:50])  # killed while it wrote
    assert call(*rows) == 0 and call.found.read_text() == whole and not partial.exists()
    assert json.loads(call.report.read_text())["num_kept_of_earlier_runs"] == 1
    assert call(*rows[::-1], {"doc_id": "new", "text": rows[0]["text"]}) == 0
    assert json.loads(call.report.read_text())["num_kept_of_earlier_runs"] == 4
    assert [row["doc_id"] for row in rows_of(call.found)] == [2, 1, 0, "new"]
    assert call(*rows, flags=["--no-resume"]) == 0
    assert json.loads(call.report.read_text())["num_kept_of_earlier_runs"] == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "secret words"}, 'line 2: "doc_id" (or "uid") must be a text or a number'),
        ({"doc_id": 1}, 'line 2: "text" must be a text'),
        ({"doc_id": True, "text": "secret words"}, "must be a text or a number"),
        ({"doc_id": "i" * 501, "text": "secret words"}, "at most 500 characters"),
        ('["secret words"]', "a JSON object is needed"),
        ('{"doc_id": 1, "text": "secret words', "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
    ],
)
def test_what_is_wrong_with_a_row(call, capsys, row, message):
    good = {"doc_id": "a", "text": "Edema."}
    assert call(good, row) == 1
    shown = capsys.readouterr().err
    assert message in shown and "secret words" not in shown and not call.found.exists()
    assert call(good, row, flags=["--max-bad-fraction", "0.5"]) == 0
    assert json.loads(call.report.read_text())["num_bad_lines"] == 1
    assert call(good, row, row, flags=["--max-bad-fraction", "0.5"]) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input", "x.jsonl"], "`--input` needs an `--output`"),
        (["--text", "x", "--output", "y"], "go with `--input`"),
        (["--input", "x.jsonl", "--output", "x.jsonl"], "another file"),
        (["--text", "x", "--min-score", "2"], "`min_score` must be from 0 to 1"),
        (["--text", "x", "--back-end", "openai_compatible"], "`model` must be given"),
        (["--input", "x.jsonl", "--dry-run", "--price-in", "-1"], "must be 0 or more"),
    ],
)
def test_wrong_calls(capsys, flags, message):
    assert main(["extract", *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_file(capsys, tmp_path):
    assert main(["extract", "--input", str(tmp_path / "no.jsonl"), "--output", str(tmp_path / "y")]) == 1
    assert "Cannot read `--input`" in capsys.readouterr().err


def test_a_dry_run_counts_and_sends_nothing(call, capsys):
    model = ["--back-end", "openai_compatible", "--model", "m", "--base-url", "https://example.invalid/v1"]
    rows = [{"doc_id": number, "text": text} for number, text in enumerate((REPORT, REPORT, "", "Edema."))]
    assert call(*rows, flags=["--dry-run", *model, "--price-in", "1000000", "--price-out", "0"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["num_documents"], counts["num_requests"]) == (4, 2) and not call.found.exists()
    assert (
        counts["estimated_cost"] == pytest.approx(counts["estimated_tokens_in"], abs=1)
        and counts["estimated_cost"] > 100
    )
    assert call(*rows, flags=["--dry-run"]) == 0 and json.loads(capsys.readouterr().out)["num_requests"] == 0


def test_a_warning_comes_before_text_leaves(call, caplog, monkeypatch):
    """And documents that the model does not answer for are in a file of their own."""
    told = []

    class Silent:
        model_id = "silent"

        def complete(self, conversations, **_):
            from phenolip.phenokg.backends.chat import Failure

            told.append("will be sent to https://example.invalid" in caplog.text)
            return ((place, Failure("timeout")) for place in range(len(conversations)))

    monkeypatch.setattr("phenolip.phenokg.extract_findings.make_chat_model", lambda config: Silent())
    model = ["--back-end", "openai_compatible", "--model", "m", "--base-url", "https://example.invalid/v1"]
    assert call({"doc_id": "a", "text": REPORT}, flags=model) == 1
    assert told == [True] and REPORT not in caplog.text
    assert rows_of(call.found) == []
    (failed,) = rows_of(call.found.with_suffix(".failed.jsonl"))
    assert failed["doc_id"] == "a" and failed["dropped"] == [{"reason": "timeout", "count": 1}]


def test_characters_that_no_encoding_has(call):
    assert call('{"doc_id": "\\ud800", "text": "Edema \\ud800 and \\u0000 effusion."}') == 0
    (row,) = rows_of(call.found)
    assert row["doc_id"] == "\ud800" and len(row["findings"]) == 2
    assert call('{"doc_id": "\\ud800", "text": "Edema \\ud800 and \\u0000 effusion."}') == 0


def test_braces_are_imported(call):
    assert call({"doc_id": "a", "text": "{mild}{left}{edema}, {a}"}, flags=["--text-format", "braces"]) == 0
    (row,) = rows_of(call.found)
    assert row["extractor"] == "braces-1" and row["dropped"] == [{"reason": "wrong_number_of_slots", "count": 1}]
    assert row["findings"][0]["location"] == "left" and row["findings"][0]["start"] is None
