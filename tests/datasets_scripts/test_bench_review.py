"""The review sheet: what it shows, that data stays data, and that a browser runs it and nothing else."""

import csv
import hashlib
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from phenolip.datasets_scripts.bench_build import draw_bench
from phenolip.datasets_scripts.bench_csv import safe_cell
from phenolip.datasets_scripts.bench_draw import DrawConfig
from phenolip.datasets_scripts.bench_folder import BenchFolder
from phenolip.datasets_scripts.bench_review import SheetConfig, _pieces
from phenolip.exceptions import ConfigurationError, DataError

HOSTILE = [
    '</script><script>document.title="owned"</script> A square shape.',
    '<img src="https://evil.example/x.png" onerror="document.title=1">',
    '=HYPERLINK("https://evil.example";"click")',
    "  +cmd|' /C calc'!A0",
    '"quoted", and a\nnew line; @SUM(A1)',
    "\u202eright to left\u202c {{ 7 * 7 }} {% raw %}",
]


@pytest.fixture
def drawn(tmp_path, helpers, ontology):
    """Draws from hostile captions with two phenotypes each."""

    def make(sheet=None, **settings):
        records = [
            {
                "caption": caption,
                "hpo_ids": ["HP:9900002", "HP:9900003"],
                "license": "CC-BY-4.0",
                "pmcid": f"PMC{n}000",
            }
            for n, caption in enumerate(HOSTILE)
        ]
        source = tmp_path / "source"
        if not source.exists():
            helpers.write_imagefolder(source, records)
        output = tmp_path / "bench"
        draw_bench(
            source, output, config=DrawConfig(per_phenotype=9, max_phash_distance=-1, **settings), sheet=sheet,
            ontology=ontology,
        )  # fmt: skip
        return BenchFolder(output)

    return make


class Page(HTMLParser):
    """Elements, texts of captions, and what a page would load or run."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.tags, self.captions, self.sources, self.handlers, self._in_caption = [], [], [], [], False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.sources += [attrs[name] for name in ("src", "href", "action") if name in attrs]
        self.handlers += [name for name in attrs if name.startswith("on")]
        if attrs.get("class") == "caption":
            self._in_caption = True
            self.captions.append("")

    def handle_endtag(self, tag):
        self._in_caption = self._in_caption and tag != "p"

    def handle_data(self, data):
        if self._in_caption:
            self.captions[-1] += data


def test_data_stays_data_and_nothing_is_loaded(drawn):
    bench = drawn()
    page = Page(bench.path / "sheet" / "review.html")
    assert sorted(page.captions) == sorted(caption.strip() for caption in HOSTILE)
    assert [tag for tag, _ in page.tags].count("script") == 1 and not page.handlers
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources) and len(page.sources) == 6
    policy = next(attrs["content"] for tag, attrs in page.tags if "http-equiv" in attrs)
    assert "default-src 'none'" in policy and "img-src data:;" in policy and "unsafe" not in policy
    text = (bench.path / "sheet" / "review.html").read_text(encoding="utf-8")
    assert "Images here may show patients" in text
    items = [attrs["data-item"] for _, attrs in page.tags if "data-item" in attrs]
    assert items == [question.item for question in bench.questions()] and len(items) == 12


def test_definition_parents_and_the_mention(drawn):
    bench = drawn()
    text = (bench.path / "sheet" / "review.html").read_text(encoding="utf-8")
    assert "A kind of: Odd shape." in text and "HP:9900002" in text
    assert re.search(r'A <mark data-of="0">square shape</mark>\.', text)
    assert text.count("The caption does not name it") == 11


def test_overlapping_mentions_are_cut_where_they_meet():
    assert list(_pieces("abcdef", [(1, 4), None, (3, 6)])) == [("a", ""), ("bc", "0"), ("d", "0 2"), ("ef", "2")]
    assert list(_pieces("ab", [None])) == [("ab", "")]


def test_pages_and_images_beside_them(drawn):
    bench = drawn(SheetConfig(rows_per_page=4, images="beside", max_side=10))
    assert bench.drawn()["pages"] == ["review-1.html", "review-2.html"]
    pages = [Page(bench.path / "sheet" / name) for name in bench.drawn()["pages"]]
    assert [len(page.captions) for page in pages] == [4, 2]
    images = [source for page in pages for source in page.sources if source.startswith("images/")]
    assert all((bench.path / "sheet" / image).is_file() for image in images) and len(set(images)) == 6
    with pytest.raises(ConfigurationError, match="`images` must be 'inline' or 'beside', got 'none'"):
        SheetConfig(images="none")
    with pytest.raises(ConfigurationError, match="`rows_per_page` must be at least 1, got 0"):
        SheetConfig(rows_per_page=0)


def test_the_table_holds_the_same_questions_and_no_formula(drawn):
    bench = drawn()
    with (bench.path / "sheet" / "review.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["item"] for row in rows] == [question.item for question in bench.questions()]
    assert {row["sheet"] for row in rows} == {bench.drawn()["sheet"]}
    assert not [cell for row in rows for cell in row.values() if cell.lstrip()[:1] in ("=", "+", "-", "@")]
    assert {row["caption"].removeprefix("'") for row in rows} == {caption.strip() for caption in HOSTILE}
    assert sum(row["mention"] == "square shape" for row in rows) == 1
    assert all((bench.path / "sheet" / row["image"]).is_file() for row in rows)


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "＝1", "\n-"])
def test_cells_that_a_spreadsheet_would_work_out(text):
    assert safe_cell(text) == f"'{text}"
    assert safe_cell(f"x{text}") == f"x{text}"


def test_rows_keep_images_terms_of_use_and_hash(drawn, tmp_path):
    bench = drawn()
    rows = bench.rows()
    assert {row["license"] for row in rows} == {"CC-BY-4.0"} and {row["pmcid"][:3] for row in rows} == {"PMC"}
    for row, image in zip(rows, bench.images(), strict=True):
        assert hashlib.sha256(image).hexdigest() == row["sha256"]
        assert image == (tmp_path / "source" / row["row_id"]).read_bytes()
    assert re.fullmatch("s[0-9a-f]{16}", bench.drawn()["sheet"])
    facts = json.loads((bench.path / "draw.json").read_text())
    (bench.path / "draw.json").write_text(json.dumps({**facts, "sheet": "s0"}))
    with pytest.raises(DataError, match="are not those that the sheet was made from"):
        bench.questions()


def test_a_draw_is_never_drawn_over(drawn, tmp_path, ontology):
    bench = drawn(number=2)
    before = (bench.path / "draw.json").read_bytes()
    with pytest.raises(DataError, match="holds a draw already, which reviews may hang on"):
        drawn(number=3)
    assert (bench.path / "draw.json").read_bytes() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(DataError, match=r"it holds 'thesis\.txt'"):
        draw_bench(tmp_path / "source", tmp_path / "other", ontology=ontology)
    (bench.path / "draw.json").unlink()  # killed before the end: the same call starts anew
    assert drawn(number=3).drawn()["num_rows"] == len(bench.rows()) == 3


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser")
def test_a_browser_runs_the_page_and_nothing_of_the_data(drawn, tmp_path):
    bench = drawn()
    page = f"file://{bench.path / 'sheet' / 'review.html'}#ab"
    call = ["chromium", "--headless", "--no-sandbox", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page]
    shown = subprocess.run(call, capture_output=True, text=True, timeout=120).stdout
    assert "<title>Review sheet" in shown and "owned" in html.unescape(shown)  # as text alone
    assert shown.count('class="card" data-row') - len(re.findall(r'class="card"[^>]*hidden', shown)) == 1
    assert 'id="count">0 of 12<' in shown
