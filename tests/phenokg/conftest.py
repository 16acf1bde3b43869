"""Small corpora of JATS articles with images, and a server of a chat model, for the tests that need one."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phenolip.ontology import load_ontology
from phenolip.phenokg.backends.openai_compatible import OpenAICompatibleChat
from phenolip.phenokg.build_config import Stage
from phenolip.phenokg.link_phenotypes import PhenotypeLinker
from phenolip.phenokg.records import Article, Drop, LinkedFigure, PhenotypeLink
from phenolip.phenokg.steps import find_step, make_config, make_step

LICENSE = """<permissions><license xlink:href="http://creativecommons.org/licenses/by/4.0/"><p>CC BY</p></license>
</permissions>"""
ARTICLE = """<article xmlns:xlink="http://www.w3.org/1999/xlink"><front>
<journal-meta><journal-title-group><journal-title>Journal</journal-title></journal-title-group></journal-meta>
<article-meta><article-id pub-id-type="doi">10.1/{name}</article-id><title-group><article-title>Title</article-title>
</title-group>{license}</article-meta></front><body>{figures}</body></article>"""
FIGURE = """<fig id="{id}"><label>Figure</label><caption><p>{caption}</p></caption>
<graphic xlink:href="{href}"/></fig>"""


def draw(path: Path, seed: int) -> None:
    """An image whose pixels the seed decides."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(blocks).resize((64, 64), Image.Resampling.NEAREST).save(path)


class Corpus:
    """A folder of articles."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.num_images = 0

    def add(self, name, figures=(("seizures and long fingers", "f1.png"),), license=LICENSE, images=None):
        """An article; `figures` are captions and hrefs, `images` the files to draw (None: those of the hrefs)."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        xml = "".join(
            FIGURE.format(id=f"f{place}", caption=caption, href=href)
            for place, (caption, href) in enumerate(figures, 1)
        )
        (folder / "a.xml").write_text(ARTICLE.format(name=name, license=license, figures=xml))
        for image in [href for _, href in figures] if images is None else images:
            self.num_images += 1
            draw(folder / image, self.num_images)
        return folder


@pytest.fixture
def corpus(tmp_path):
    """An empty one, below the test's folder."""
    return Corpus(tmp_path / "articles")


@dataclass(frozen=True)
class WordConfig:
    """One term.

    Attributes:
        word: That names it.
    """

    word: str = "seizures"


def link_word(records: Iterable[Article], config: WordConfig) -> Iterator[LinkedFigure | Drop]:
    """A linker that needs no ontology."""
    for article in records:
        for figure in article.figures:
            start = figure.caption.find(config.word)
            link = PhenotypeLink(
                "HP:0001250", "Seizure", start, start + len(config.word), config.word, "present", "name", 1.0, "x"
            )
            yield LinkedFigure(
                article.article_id, article.source, article.pmcid, article.version, article.doi, article.title,
                article.journal, article.published, figure.license or article.license, figure,
                (link,) if start >= 0 else (),
            )  # fmt: skip


def word_stages(articles, link=link_word, word="seizures", **select):
    """Steps of a build that links one word; `select` are settings of select_figures."""
    linking = make_step("link_phenotypes", link)
    return (
        Stage(find_step("parse_articles"), make_config(find_step("parse_articles"), {})),
        Stage(linking, linking.config_type(word)),
        Stage(find_step("select_figures"), make_config(find_step("select_figures"), select)),
        Stage(find_step("assemble"), make_config(find_step("assemble"), {"media": str(articles)})),
        Stage(find_step("split_pairs"), make_config(find_step("split_pairs"), {"test_fraction": 0.3})),
    )


@pytest.fixture(scope="session")
def stages():
    """`word_stages`, for tests of whole builds without an ontology."""
    return word_stages


@pytest.fixture(scope="session")
def release():
    """The installed ontology."""
    return load_ontology()


@pytest.fixture(scope="session")
def release_linker(release):
    """The linker of `release`; read it only."""
    return PhenotypeLinker(release)


class ChatServer:
    """A running server and what it was asked."""

    def __init__(self, folder):
        self._log = folder / "requests.jsonl"
        script = Path(__file__).parent / "chat_server.py"
        self.process = subprocess.Popen([sys.executable, "-S", script, self._log], stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    @property
    def requests(self):
        """Every request so far, with its body and key."""
        return [json.loads(line) for line in self._log.open(encoding="utf-8")] if self._log.exists() else []

    @property
    def texts(self):
        """How often each question was asked."""
        return Counter(request["body"]["messages"][1]["content"] for request in self.requests)

    def model(self, name="model", **settings):
        """A client that does not wait long."""
        given = {"timeout_s": 5.0, "max_tries": 3, "first_wait_s": 0.01, "base_url": self.url} | settings
        return OpenAICompatibleChat(name, **given)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def chat_server(tmp_path):
    server = ChatServer(tmp_path)
    yield server
    server.stop()
