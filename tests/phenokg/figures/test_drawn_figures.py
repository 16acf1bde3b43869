"""Every kind of drawn figure: the same by its seed, different by its number, never empty."""

import io

import numpy as np
import pytest
from PIL import Image

from phenolip.phenokg.figures.drawn_figures import KINDS, as_published, draw_figure, main


@pytest.mark.parametrize("kind", ["pie", "gel", "tree"])
def test_a_figure_depends_on_kind_number_and_seed(kind):
    first = draw_figure(kind, 2)
    assert first.mode == "RGB" and first == draw_figure(kind, 2)
    assert first != draw_figure(kind, 1) and first != draw_figure(kind, 2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_something(kind):
    for number in range(5):
        picture = np.asarray(draw_figure(kind, number))
        assert min(picture.shape[:2]) > 100 and picture.std() > 1


def test_published_files_come_in_several_sizes_and_formats():
    picture = Image.new("RGB", (600, 300), "white")
    made = [as_published(picture, np.random.default_rng(number)) for number in range(30)]
    assert {suffix for _, suffix in made} == {".png", ".jpg"}
    assert {Image.open(io.BytesIO(data)).size for data, _ in made} == {(600, 300), (260, 130)}


def test_a_folder_a_kind(tmp_path, monkeypatch):
    monkeypatch.setattr("phenolip.phenokg.figures.drawn_figures.KINDS", ("logo", "table"))
    main(["--output", str(tmp_path), "--per_kind", "2"])
    assert sorted(path.relative_to(tmp_path).with_suffix("").as_posix() for path in tmp_path.rglob("*.*")) == [
        "logo/000", "logo/001", "table/000", "table/001",
    ]  # fmt: skip
