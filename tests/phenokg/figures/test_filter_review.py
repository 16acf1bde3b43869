"""The review page: what it shows, and that no name of a file gets out of its place."""

import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.figures.cluster_files import ClusteredImages
from phenolip.phenokg.figures.filter_review import ReviewConfig, draw_samples, write_review

ODD = "\"><script>alert(1)<img src=x onerror=alert(1)>'&{{ 7 * 7 }}.png".replace("/", "")


class Page(HTMLParser):
    """Tags of a page with their attributes, and the text inside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.raw, self._inside = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else None

    def handle_data(self, data):
        if self._inside:
            self.raw[self._inside] = self.raw.get(self._inside, "") + data

    def handle_endtag(self, tag):
        self._inside = None


@pytest.fixture
def clusters(tmp_path):
    names = [f"{number:02d}.png" for number in range(24)] + [ODD]
    for number, name in enumerate(names):
        Image.new("RGB", (400, 100), (number, 0, 0)).save(tmp_path / name)
    (tmp_path / "01.png").unlink()
    labels = np.array([0] * 20 + [1] * 5)
    return ClusteredImages(str(tmp_path), "t", "0" * 16, names, names, labels, "0123456789abcdef")


def test_the_page_shows_ten_of_each_cluster_and_runs_nothing_else(clusters, tmp_path):
    num_missing = write_review(tmp_path / "review.html", clusters)
    text = (tmp_path / "review.html").read_text(encoding="utf-8")
    page = Page(text)
    sections = [attrs["data-number"] for tag, attrs in page.tags if tag == "section"]
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    gone = [attrs["title"] for tag, attrs in page.tags if attrs.get("class") == "gone"]
    assert sections == ["0", "1"] and len(images) + len(gone) == 15
    assert num_missing == len(gone) and set(gone) <= {"01.png"}
    assert ODD in [attrs["alt"] for attrs in images] and "7 * 7" in text
    for attrs in images:
        data = base64.b64decode(attrs["src"].removeprefix("data:image/jpeg;base64,"), validate=True)
        with Image.open(io.BytesIO(data)) as shown:
            assert shown.format == "JPEG" and shown.size == (160, 40)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not re.search(r"\son\w+=", re.sub(r'"[^"]*"', '""', text.split("<main>")[1].split("</main>")[0]))
    assert not re.search(r"(?:src|href)=[\"'](?!data:image/jpeg)", text)


def test_the_policy_allows_its_own_script_and_style_alone(clusters, tmp_path):
    write_review(tmp_path / "review.html", clusters)
    page = Page((tmp_path / "review.html").read_text(encoding="utf-8"))
    (policy,) = (attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.raw[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_samples_are_of_their_cluster_and_drawn_by_the_seed(clusters):
    def shown(**settings):
        config = ReviewConfig(**settings)
        return [(each.number, each.size, [name for name, _ in each.images]) for each in draw_samples(clusters, config)]

    first, second = shown(per_cluster=4)
    assert first[:2] == (0, 20) and second[:2] == (1, 5) and len(set(first[2])) == len(second[2]) == 4
    assert set(first[2]) <= set(clusters.file_names[:20]) and set(second[2]) <= set(clusters.file_names[20:])
    assert shown(per_cluster=4) == [first, second] and shown(per_cluster=4, seed=1) != [first, second]
    assert set(shown(per_cluster=99)[1][2]) == set(clusters.file_names[20:])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_cluster": 0}, "`per_cluster` must be from 1 to 100, got 0"),
        ({"max_side": 5}, "`max_side` must be from 16 to 1,000 pixels, got 5"),
        ({"seed": -1}, "`seed` must be 0 or more, got -1"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        ReviewConfig(**settings)
