"""The same shards on Ray's workers give the same tables, also when a worker is killed on the way."""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from phenolip.exceptions import DataError
from phenolip.phenokg.build_config import BuildConfig, Stage
from phenolip.phenokg.pipeline import build
from phenolip.phenokg.records import Article, Drop, LinkedFigure
from phenolip.phenokg.steps import find_step, make_config, make_step

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]>=2.50'")
pytest.importorskip("ray.data")
pytestmark = pytest.mark.slow  # starting Ray takes longer than the work


@dataclass(frozen=True)
class Config:
    """What happens to workers.

    Attributes:
        marks: Folder in which the first attempts leave a file.
        kills: Articles whose first attempt kills its worker.
        fails: Article that cannot be worked on.
    """

    marks: str
    kills: tuple[str, ...] = ()
    fails: str = ""


def link(records: Iterable[Article], config: Config) -> Iterator[LinkedFigure | Drop]:
    """Figures without links, and workers that die."""
    for article in records:
        mark = Path(config.marks, article.article_id.replace("/", "-"))
        if article.article_id in config.kills and not mark.exists():
            mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        if article.article_id == config.fails:
            raise DataError("This article cannot be worked on.")
        for figure in article.figures:
            yield LinkedFigure(
                article.article_id, article.source, None, None, article.doi, "", "", None, article.license, figure, ()
            )


@pytest.fixture(scope="module")
def cluster():
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def make_build(corpus, tmp_path):
    for number in range(12):
        corpus.add(f"a{number:02d}")
    (tmp_path / "marks").mkdir()

    def make(name, **settings):
        linking = make_step("link_phenotypes", link)
        stages = (
            Stage(find_step("parse_articles"), make_config(find_step("parse_articles"), {})),
            Stage(linking, Config(str(tmp_path / "marks"), **settings)),
            Stage(find_step("assemble"), make_config(find_step("assemble"), {"media": str(corpus.folder)})),
            Stage(find_step("split_pairs"), make_config(find_step("split_pairs"), {})),
        )
        return BuildConfig(articles=str(corpus.folder), output=str(tmp_path / name), stages=stages, shard_size=2)

    return make


def tables_of(config):
    return {path.name: path.read_bytes() for path in sorted(Path(config.output, "tables").iterdir())}


def test_tables_are_those_of_one_process_also_when_workers_die(cluster, make_build, tmp_path):
    from phenolip.phenokg.ray_engine import run_on_ray

    here, there = make_build("here"), make_build("there", kills=("10.1/a03", "10.1/a08"))
    (tmp_path / "marks" / "10.1-a03").touch()
    (tmp_path / "marks" / "10.1-a08").touch()
    assert build(here)["splits"]["train"] > 0
    for mark in (tmp_path / "marks").iterdir():
        mark.unlink()
    manifest = build(there, run_on_ray)
    killed = {int(mark.read_text()) for mark in (tmp_path / "marks").iterdir()}
    assert len(killed) == 2 and os.getpid() not in killed  # two workers, neither of them this process
    assert tables_of(there) == tables_of(here)
    assert sum(manifest["splits"].values()) == 12
    assert not list(Path(there.output).rglob("*.partial"))


def test_an_error_on_a_worker_is_the_sentence_that_it_is_here(cluster, make_build):
    from phenolip.phenokg.ray_engine import run_on_ray

    with pytest.raises(DataError, match="^This article cannot be worked on.$"):
        build(make_build("out", fails="10.1/a05"), run_on_ray)
