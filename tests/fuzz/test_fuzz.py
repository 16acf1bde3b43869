"""Whatever the bytes, a parser answers or says why not: within 2 s of processor time and 1 GB.

`make fuzz SECONDS=600` gives each target so much processor time; the default suite tries the corpus, and a few inputs
that are the same each time. An input that once failed stays in `corpus/`, TARGET-anything, and is tried first. Inputs
are words of the format in any order, valid files of `seeds/` that were cut and patched, any elements, noise.
"""

import json
import os
import struct
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from phenolip.datasets_scripts.bench_answers import read_reviews
from phenolip.datasets_scripts.bench_folder import Question
from phenolip.datasets_scripts.report_sections import pick_sections
from phenolip.datasets_scripts.sources import _from_records, _read_csv, _read_jsonl
from phenolip.eval.tasks.registry import load_task
from phenolip.exceptions import PhenoLIPError
from phenolip.inference.model_check import check_weights
from phenolip.ontology.reader import load_ontology
from phenolip.phenokg.articles.article_ids import read_article_ids
from phenolip.phenokg.articles.article_xml import find_articles
from phenolip.phenokg.backends.chat import Failure
from phenolip.phenokg.backends.schemas import read_answer
from phenolip.phenokg.build_config import make_build, read_settings
from phenolip.phenokg.captions.located_parts import NamedParts, find_parts
from phenolip.phenokg.findings.brace_findings import read_braces
from phenolip.phenokg.parse_articles import ParseConfig
from phenolip.phenokg.parse_articles import run as parse
from phenolip.phenokg.record_files import read_records
from phenolip.phenokg.records import Article, ArticleId, CaptionedFigure
from phenolip.phenokg.split_captions import split_caption
from phenolip.plain_yaml import read_yaml

SECONDS = float(os.environ.get("PHENOLIP_FUZZ_SECONDS", "0"))
NUM_EXAMPLES = 60  # a target, in the default suite
CORPUS, SEEDS = Path(__file__).parent / "corpus", Path(__file__).parent / "seeds"


def _jats(path):
    """Whether the parser went through the article: a drop as broken XML says little about it."""
    return any(isinstance(found, Article) for found in parse(find_articles(path.parent), ParseConfig()))


def _yaml(path):
    try:
        repr(read_yaml(path))  # what an error message does to a value
    except (yaml.YAMLError, UnicodeDecodeError):
        return False


def _pairs(read):
    return lambda path: len(_from_records(list(read(path)), path.parent, "a", None).rows) > 0


def _answer(path):
    caption, answer = "CT. (A) Liver. (B) Lung, after treatment.", read_answer(_text(path), NamedParts)
    return not isinstance(answer, Failure) and not isinstance(find_parts(caption, answer), Failure)


def _reviews(path):
    other = path.with_name("b.jsonl")
    other.write_text('{"sheet": "s", "item": "i1", "reviewer": "cd", "verdict": "right"}')
    questions = [Question(item=item, **dict.fromkeys(_QUESTION, "")) for item in ("i1", "i2")]
    return len(read_reviews([path, other], questions, "s")) == 2


_QUESTION = [name for name in Question.__dataclass_fields__ if name != "item"]
TARGETS = {  # name -> ending of its files; what reads one, and says False where it turned it down without an error
    "jats": (".xml", _jats),
    "captions": (".txt", lambda path: split_caption(_text(path))),
    "obo": (".obo", lambda path: load_ontology(path, cache_dir=path.parent / "cache")),
    "obographs": (".json", lambda path: load_ontology(path, cache_dir=path.parent / "cache")),
    "braces": (".txt", lambda path: read_braces(_text(path))),
    "task_yaml": (".yaml", load_task),
    "build_yaml": (".yaml", lambda path: make_build(read_settings(path))),
    "plain_yaml": (".yaml", _yaml),
    "report_sections": (".txt", lambda path: pick_sections(_text(path))),
    "pairs_jsonl": (".jsonl", _pairs(_read_jsonl)),
    "pairs_csv": (".csv", _pairs(_read_csv)),
    "records_jsonl": (".jsonl", lambda path: list(read_records(path, CaptionedFigure))),
    "article_ids": (".csv", lambda path: any(isinstance(found, ArticleId) for found in read_article_ids(path))),
    "answers": (".txt", _answer),
    "reviews": (".jsonl", _reviews),
    "safetensors": (".safetensors", check_weights),
}
WORDS = {  # what inputs are made of, beside any text
    "jats": "<article> </article> <front> <body> <fig> </fig> <caption> <p> </p> <title> &lt; &#0; <!DOCTYPE <!ENTITY "
    "<xref> <label> <graphic/> <sup> <pub-date> <year> 99999999 <mml:math> <![CDATA[ ]]>",
    "captions": "(A) (a-z) (A, B) A) a: (i) (iv) Figure 1. (A–Z) left right top Panel (1) and (a1) (left) ; . arrow",
    "obo": "format-version:1.2 \ndata-version:hp/releases/2025-01-16\n \n[Term]\nid:HP:0000118\n \nis_a:HP:0000118 "
    '\nname:a \nsynonym:"a"EXACT[] \ndef:"a"[] \nis_obsolete:true \nalt_id:HP:1 \n[Typedef] import:http://a {a="b"}',
    "obographs": '{"graphs":[{ "nodes":[ {"id":"http://purl.obolibrary.org/obo/HP_0000118"} ] "edges":[ {"sub":1, '
    '"pred":"is_a" "meta":{"version":"2025-01-16"} null [] {} , }]}',
    "braces": "{ } {mild} {na}{left}{effusion} {{ }} , {}{}{}",
    "task_yaml": "name: version: 1 evaluators: retrieval: zero_shot: prompts: [] {} !!python/object:os.system &a *a - "
    "\n needs_data: true extras: primary_metric: description: variants: \n\x20\x20",
    "build_yaml": "steps: parse_articles: assemble: {} [] folder: null &a *a - \n !!python/name:a \n\x20\x20 1e999",
    "plain_yaml": "a: &a *a [ ] { } - \n !!python/object/apply:os.system !!binary !!timestamp 2000-99-99 1e999 "
    "0x 0o9 ? |",
    "report_sections": "FINDINGS: IMPRESSION: \n\n FINAL REPORT\n HISTORY : A,A/A FINDING",
    "pairs_jsonl": '{"image": "caption": [ ] } null \n NaN 1e999 "\\ud800"',
    "pairs_csv": 'image,caption,hpo_ids\n , " "" \n \r \0 [\'HP:0000518\'] HP:0000518| (( [[ \ufeff 1e999',
    "records_jsonl": '{"caption": "figure_id": [ ] } null \n NaN "\\ud800" 1e999 true',
    "article_ids": 'PMC1 PMC PMC1.0 .2 , \t " \n \r \0 # metadata/PMC1.2.json PMC' + "9" * 30,
    "answers": '{"subcaptions":[ {"label":"A", "text":"Liver." "start":-1 } ] ``` <think> </think> null NaN 1e999 "',
    "reviews": '{"sheet":"s" "item":"i1" "item":"i2" "verdict":"right" "reviewer":"ab" , } null [ ] \n NaN',
    "safetensors": '{"a":{"dtype":"F32" ,"shape":[1] ,"data_offsets":[0,4] }} -1 99999999999999999999 "__metadata__"',
}
TAGS = (
    "p p sec sec fig fig fig-group caption title label graphic xref sup sub italic front article-meta article-id "
    "pub-date year month day permissions license license-p abstract floats-group alternatives list list-item "
    "table-wrap inline-formula tex-math sub-article response supplementary-material media ext-link contrib-group"
).split()
ATTRIBUTES = (
    "",
    ' id="f1"',
    ' id="f2"',
    ' rid="f1"',
    ' rid="f1 f2 f3"',
    ' ref-type="fig" rid="f2"',
    ' xlink:href="a.jpg"',
    ' xlink:href="../../etc/passwd"',
    ' pub-id-type="pmcid"',
    ' pub-id-type="doi"',
    ' pub-type="epub"',
    ' fig-type="scheme"',
    ' xml:lang="zh"',
    ' specific-use="&#x202e;"',
)
TEXTS = (
    "Figure 1",
    "Figs. 1A-9Z",
    "Figs 1-99999999",
    "Figure IV",
    "Supplementary Fig. S3",
    "(A) a (B) b",
    "PMC123",
    "2020",
    "13",
    "&lt;b&gt;",
    "&#x3b1;&#x301;",
    "<!-- a -->",
    "<?a b?>",
    "<![CDATA[<fig>]]>",
    "CC BY 4.0 https://creativecommons.org/licenses/by/4.0/",
    " \n ",
)


def _text(path):
    return path.read_text(encoding="utf-8", errors="replace")


def _seed(name):
    if name == "safetensors":
        head = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {"b": "c"}})
        return struct.pack("<Q", len(head)) + head.encode() + bytes(8)
    return (SEEDS / name).read_bytes()


def inputs(name):
    """Words of the format in any order, now and then repeated thousands of times; patched files; plain bytes."""
    word = st.sampled_from(WORDS[name].split(" ")) | st.text(max_size=8)
    many = st.tuples(word, st.sampled_from([1, 1, 1, 2, 50, 3000])).map(lambda pair: pair[0] * pair[1])
    data = (
        patched(_seed(name), many)
        | st.lists(many, max_size=40).map(lambda words: " ".join(words).encode("utf-8", "replace"))
        | st.lists(word, max_size=40).map(lambda words: "".join(words).encode("utf-8", "replace"))
        | st.binary(max_size=400)
    )
    if name == "safetensors":
        length = st.integers(0, 2**64 - 1) | st.none()
        return data | st.tuples(length, data).map(
            lambda p: (len(p[1]) if p[0] is None else p[0]).to_bytes(8, "little") + p[1]
        )
    if name == "obo":
        head = b"format-version: 1.2\ndata-version: hp/releases/2025-01-16\n\n[Term]\nid: HP:0000118\nname: a\n"
        return data | data.map(lambda body: head + body)
    return articles() | articles() | data if name == "jats" else data


def patched(seed, word):
    """A valid file, in some places of which up to 40 bytes are words instead."""

    def patch(edits):
        data = seed
        for place, cut, text in edits:
            start = place * len(data) // 1000
            data = data[:start] + text.encode("utf-8", "replace") + data[start + cut :]
        return data

    return st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 40), word), max_size=5).map(patch)


def articles():
    """Well-formed articles of any elements: each step opens one, closes one, writes text, or repeats an empty one."""
    step = st.tuples(
        st.sampled_from(["open", "open", "close", "text", "empty", "many"]),
        st.sampled_from(TAGS),
        st.sampled_from(ATTRIBUTES),
        st.sampled_from(TEXTS) | st.text(st.characters(min_codepoint=32, exclude_characters="<&"), max_size=8),
    )

    def build(steps):
        made, open_ = ['<article xmlns:xlink="http://www.w3.org/1999/xlink"><body>'], []
        for kind, tag, attribute, text in steps:
            if kind == "open":
                made.append(f"<{tag}{attribute}>")
                open_.append(tag)
            elif kind == "close" and open_:
                made.append(f"</{open_.pop()}>")
            elif kind == "text":
                made.append(text)
            else:
                made.append(f"<{tag}{attribute}>{text}</{tag}>" * (300 if kind == "many" else 1))
        made += [f"</{tag}>" for tag in reversed(open_)]
        return ("".join(made) + "</body></article>").encode("utf-8", "replace")

    return st.lists(step, max_size=60).map(build)


def attempt(name, folder, data, bounds):
    """Whether the input was read; an error that says why not is no failure."""
    ending, read = TARGETS[name]
    path = folder / f"a{ending}"
    path.write_bytes(data)
    try:
        with bounds():
            return read(path) is not False
    except PhenoLIPError as error:
        assert str(error)
        return False


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*")), ids=lambda path: path.name)
def test_what_once_failed(path, tmp_path, bounds):
    attempt(path.name.partition("-")[0], tmp_path, path.read_bytes(), bounds)


@pytest.mark.parametrize("name", TARGETS)
def test_valid_files_are_read(name, tmp_path, bounds):
    assert attempt(name, tmp_path, _seed(name), bounds)


@pytest.mark.skipif(SECONDS > 0, reason="the long test has them")
@pytest.mark.parametrize("name", TARGETS)
def test_a_few_inputs_are_read_or_refused(name, tmp_path, bounds):
    @settings(
        max_examples=NUM_EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(inputs(name))
    def one(data):
        attempt(name, tmp_path, data, bounds)

    one()


@pytest.mark.skipif(SECONDS == 0, reason="make fuzz")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", TARGETS)
def test_any_input_is_read_or_refused(name, tmp_path, bounds):
    end, num, num_read = time.process_time() + SECONDS, 0, 0

    @settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs(name))
    def one(data):
        nonlocal num, num_read
        if num == 0 or time.process_time() < end:
            num += 1
            num_read += attempt(name, tmp_path, data, bounds)

    while time.process_time() < end:
        one()
    assert num > 0
    print(f"{name}: {num:,} inputs in {SECONDS:g} s, of which {num_read:,} were read to the end", flush=True)
