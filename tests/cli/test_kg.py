"""`phenolip kg`: whole builds and single steps from the command line."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenolip.cli import main
from phenolip.phenokg.records import Article, from_row
from phenolip.phenokg.steps import STEPS, find_step, settings

CONFIG = "phenokg/configs/research.yaml"
ARTICLE = """<article xmlns:xlink="http://www.w3.org/1999/xlink"><front><article-meta>
<article-id pub-id-type="doi">10.1/{name}</article-id><permissions><license
 xlink:href="http://creativecommons.org/licenses/by/4.0/"><p>CC BY</p></license></permissions></article-meta></front>
<body><p>See <xref ref-type="fig" rid="f1">Figure 1</xref>.</p><fig id="f1"><label>Figure 1</label>
<caption><p>Arachnodactyly of case {name}.</p></caption><graphic xlink:href="{href}"/></fig></body></article>"""


@pytest.fixture
def articles(tmp_path):
    folder = tmp_path / "articles"
    folder.mkdir()
    for number in range(3):
        blocks = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(blocks).resize((64, 64)).save(folder / f"f{number}.jpg")
        (folder / f"a{number}.xml").write_text(ARTICLE.format(name=number, href=f"f{number}"))
    (folder / "b.xml").write_text(ARTICLE.format(name="b", href="../../../etc/passwd"))
    (folder / "c.xml").write_text("<article><front>")
    return folder


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "build.yaml"
    path.write_text("steps: {parse_articles: , link_phenotypes: , assemble: , split_pairs: {test_fraction: 1.0}}")
    return str(path)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_build_and_the_command_line_over_its_file(tmp_path, articles, config, capsys):
    output = tmp_path / "out"
    call = ["kg", "build", "--config", config, "--articles", str(articles), "--output", str(output)]
    assert main([*call, "--validation-fraction", "0", "--assemble.max-pixels", "5000", "--shard-size", "2"]) == 0
    shown = capsys.readouterr().err
    assert "assemble                  4 in          3 out, 1 unsafe_href" in shown and "3 test" in shown
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["config"]["shard_size"] == 2
    assert manifest["config"]["steps"]["assemble"]["max_pixels"] == 5000
    assert manifest["hpo"]["release"] and len(manifest["hpo"]["sha256"]) == 64
    pairs = pq.read_table(output / "tables" / "pairs-00000.parquet").to_pylist()
    assert [pair["phenotypes"][0]["name"] for pair in pairs] == ["Arachnodactyly"] * 3
    assert {pair["split"] for pair in pairs} == {"test"}
    assert [pair["image_path"] for pair in pairs] == ["f0.jpg", "f1.jpg", "f2.jpg"]


def test_the_steps_one_by_one(tmp_path, articles, capsys):
    steps = ("parse_articles", "link_phenotypes", "select_figures", "assemble", "split_pairs")
    assert set(steps) < set(STEPS)
    files = [tmp_path / f"{name}.jsonl" for name in steps]
    calls = [
        ["parse_articles", "--input", str(articles), "--output", str(files[0])],
        ["link_phenotypes", "--input", str(files[0]), "--output", str(files[1]), "--min-score", "0.9"],
        ["select_figures", "--input", str(files[1]), "--output", str(files[2])],
        ["assemble", "--input", str(files[2]), "--output", str(files[3]), "--media", str(articles)],
        ["split_pairs", "--input", str(files[3]), "--output", str(files[4]), "--test_fraction", "1",
         "--validation_fraction", "0"],
    ]  # fmt: skip
    for call in calls:
        assert main(["kg", "run", *call]) == 0
    assert "4 records, 1 broken_xml" in capsys.readouterr().err
    parsed = lines(files[0])
    assert parsed[0]["figures"][0] | {"license": None, "group_caption": "", "kind": "body", "caption_title": ""} == {
        "id": "f1", "label": "Figure 1", "caption": "Arachnodactyly of case 0.", "graphics": ["f0"],
        "citing_paragraphs": ["See Figure 1."], "license": None, "group_caption": "", "kind": "body",
        "caption_title": "",
    }  # fmt: skip
    assert from_row(parsed[0], Article, "row").article_id == "10.1/0"
    assert [drop["reason"] for drop in lines(tmp_path / "parse_articles.drops.jsonl")] == ["broken_xml"]
    assert [drop["reason"] for drop in lines(tmp_path / "assemble.drops.jsonl")] == ["unsafe_href"]
    assert {pair["split"] for pair in lines(files[4])} == {"test"} and len(lines(files[4])) == 3


def test_parts_of_a_build_are_input_too(tmp_path, articles, config):
    output = tmp_path / "out"
    main(["kg", "build", "--config", config, "--articles", str(articles), "--output", str(output),
          "--validation_fraction", "0", "--shard_size", "2"])  # fmt: skip
    for source in (output / "01-parse_articles", output / "01-parse_articles" / "part-00000.parquet"):
        assert (
            main(["kg", "run", "link_phenotypes", "--input", str(source), "--output", str(tmp_path / "l.jsonl")]) == 0
        )
    assert len(lines(tmp_path / "l.jsonl")) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "a.jsonl line 2 is no JSON"),
        ("[]", "a.jsonl line 2 must be a JSON object, got list."),
        ("{}", "a.jsonl line 2: this is no Article: Object missing required field `article_id`."),
        ('{"title": "\\ud800"}', "a.jsonl line 2 is no JSON"),
    ],
)
def test_a_bad_row_is_an_error_and_leaves_no_file(tmp_path, articles, capsys, row, message):
    main(["kg", "run", "parse_articles", "--input", str(articles), "--output", str(tmp_path / "a.jsonl")])
    first = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()[0]
    (tmp_path / "a.jsonl").write_text(f"{first}\n{row}\n", encoding="utf-8")
    call = [
        "kg",
        "run",
        "link_phenotypes",
        "--input",
        str(tmp_path / "a.jsonl"),
        "--output",
        str(tmp_path / "l.jsonl"),
    ]
    assert main(call) == 1
    assert message in capsys.readouterr().err
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(("l.", ".l"))]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["run", "parse_article", "--input", "a", "--output", "b"], "Unknown step 'parse_article'. Close: 'parse_art"),
        (["run", "assemble", "--input", "a.jsonl", "--output", "b"], "Step assemble needs a value for `media`."),
        (
            ["run", "assemble", "--input", "a.txt", "--output", "b", "--media", "m"],
            "`input` must be a .jsonl or",
        ),
        (
            ["run", "parse_articles", "--input", "a.txt", "--output", "b"],
            "`input` must be a folder of XML",
        ),
        (["run", "parse_articles", "--input", "a", "--output", "b", "--mode", "paper"], "no setting 'mode'"),
        (["run", "link_phenotypes", "--input", "a", "--output", "b", "--mode", "x"], "`mode`"),
        (
            ["run", "link_phenotypes", "--input", "a", "--output", "b", "--mode", "x", "y"],
            "takes one value, got 'x y'",
        ),
        (["build"], "--config"),
        (["build", "--config", "absent.yaml"], "`config` absent.yaml cannot be read"),
        (["build", "--config", "CONFIG", "--output", "o"], "A build needs `articles`"),
        (["build", "--config", "CONFIG", "--bucket", "b"], "`--bucket` is not clear: no step of the build has it."),
        (["build", "--config", "CONFIG", "--engine", "spark"], "spark"),
        (["build", "--config", "CONFIG", "--fetch_articles.bucket", "b"], "the build has no step fetch_articles"),
        (["biuld"], "biuld"),
    ],
)
def test_calls_that_are_wrong(tmp_path, config, monkeypatch, capsys, call, message):
    monkeypatch.chdir(tmp_path)
    assert main(["kg", *(config if word == "CONFIG" else word for word in call)]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1


def test_a_setting_of_two_steps_asks_which(tmp_path, articles, capsys):
    path = tmp_path / "fetch.yaml"
    path.write_text("steps: {fetch_articles: , parse_articles: , link_phenotypes: , assemble: , split_pairs: }")
    call = ["kg", "build", "--config", str(path), "--articles", str(articles), "--output", str(tmp_path / "out")]
    assert main([*call, "--max_bytes", "5"]) == 2
    assert "write --fetch_articles.max_bytes or --parse_articles.max_bytes" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["build", "run"])
def test_help_teaches_every_setting(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main(["kg", command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    for name in STEPS:
        section = shown.split(f"settings of {name} ")[1].split("settings of ")[0]
        for setting in settings(find_step(name)):
            assert f"--{setting.name} " in section
            assert " ".join(setting.help.split()[:3]) in " ".join(section.split())
