"""Whatever the bytes, a parser answers or says why not: within 2 s of processor time and 1 GB.

`make fuzz SECONDS=600` gives each target that long; the default suite tries the corpus alone. An input that once
failed stays in `corpus/`, TARGET-anything, and is tried first.
"""

import os
import resource
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phenolip.datasets_scripts.report_sections import pick_sections
from phenolip.datasets_scripts.sources import _read_jsonl
from phenolip.eval.tasks.registry import load_task
from phenolip.exceptions import PhenoLIPError
from phenolip.inference.model_check import check_weights
from phenolip.ontology.reader import load_ontology
from phenolip.phenokg.articles.article_xml import find_articles
from phenolip.phenokg.build_config import make_build, read_settings
from phenolip.phenokg.findings.brace_findings import read_braces
from phenolip.phenokg.parse_articles import ParseConfig
from phenolip.phenokg.parse_articles import run as parse
from phenolip.phenokg.record_files import read_records
from phenolip.phenokg.records import CaptionedFigure
from phenolip.phenokg.split_captions import split_caption
from phenolip.plain_yaml import read_yaml

SECONDS = float(os.environ.get("PHENOLIP_FUZZ_SECONDS", "0.5"))
MAX_SECONDS, MAX_BYTES = 2, 1 << 30
CORPUS = Path(__file__).parent / "corpus"


def _jats(path):
    list(parse(find_articles(path.parent), ParseConfig()))


def _yaml(path):
    try:
        repr(read_yaml(path))  # what an error message does to a value
    except (yaml.YAMLError, UnicodeDecodeError):
        pass


TARGETS = {  # name -> ending of its files, what reads one
    "jats": (".xml", _jats),
    "captions": (".txt", lambda path: split_caption(_text(path))),
    "obo": (".obo", lambda path: load_ontology(path, cache_dir=path.parent / "cache")),
    "obographs": (".json", lambda path: load_ontology(path, cache_dir=path.parent / "cache")),
    "braces": (".txt", lambda path: read_braces(_text(path))),
    "task_yaml": (".yaml", load_task),
    "build_yaml": (".yaml", lambda path: make_build(read_settings(path))),
    "plain_yaml": (".yaml", _yaml),
    "report_sections": (".txt", lambda path: pick_sections(_text(path))),
    "pairs_jsonl": (".jsonl", lambda path: list(_read_jsonl(path))),
    "records_jsonl": (".jsonl", lambda path: list(read_records(path, CaptionedFigure))),
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
    "records_jsonl": '{"caption": "figure_id": [ ] } null \n NaN "\\ud800" 1e999 true',
    "safetensors": '{"a":{"dtype":"F32" ,"shape":[1] ,"data_offsets":[0,4] }} -1 99999999999999999999 "__metadata__"',
}


def _text(path):
    return path.read_text(encoding="utf-8", errors="replace")


def inputs(name):
    """Words of the format in any order, now and then repeated thousands of times; plain text; plain bytes."""
    word = st.sampled_from(WORDS[name].split(" ")) | st.text(max_size=8)
    many = st.tuples(word, st.sampled_from([1, 1, 1, 2, 50, 3000])).map(lambda pair: pair[0] * pair[1])
    texts = st.lists(many, max_size=40).map(lambda words: " ".join(words).encode("utf-8", "replace"))
    data = (
        texts
        | st.lists(word, max_size=40).map(lambda w: "".join(w).encode("utf-8", "replace"))
        | st.binary(max_size=400)
    )
    if name == "safetensors":
        length = st.integers(0, 2**64 - 1) | st.none()
        return st.tuples(length, data).map(
            lambda p: (len(p[1]) if p[0] is None else p[0]).to_bytes(8, "little") + p[1]
        )
    if name == "obo":
        head = b"format-version: 1.2\ndata-version: hp/releases/2025-01-16\n\n[Term]\nid: HP:0000118\nname: a\n"
        return data | data.map(lambda body: head + body)
    return data


@contextmanager
def bounds():
    """The next second and gigabyte but one end the work."""

    def stop(signum, frame):
        raise AssertionError(f"It takes longer than {MAX_SECONDS} s.")

    used = int(next(line for line in Path("/proc/self/status").open() if line.startswith("VmData")).split()[1]) << 10
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + MAX_BYTES, before[1]))
    old = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
        resource.setrlimit(resource.RLIMIT_DATA, before)


def attempt(name, folder, data):
    ending, read = TARGETS[name]
    path = folder / f"a{ending}"
    path.write_bytes(data)
    try:
        with bounds():
            read(path)
    except PhenoLIPError as error:
        assert str(error)


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*")), ids=lambda path: path.name)
def test_what_once_failed(path, tmp_path):
    attempt(path.name.partition("-")[0], tmp_path, path.read_bytes())


@pytest.mark.skipif("PHENOLIP_FUZZ_SECONDS" not in os.environ, reason="make fuzz")
@pytest.mark.timeout(SECONDS * 2 + 120)
@pytest.mark.parametrize("name", TARGETS)
def test_any_input_is_read_or_refused(name, tmp_path, record_property):
    end, num = time.monotonic() + SECONDS, 0

    @settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs(name))
    def one(data):
        nonlocal num
        if num == 0 or time.monotonic() < end:
            num += 1
            attempt(name, tmp_path, data)

    while time.monotonic() < end:
        one()
    print(f"{name}: {num} inputs in {SECONDS:g} s")
