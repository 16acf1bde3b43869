"""Every step is found by its name and set up from words or YAML values."""

import dataclasses
from collections.abc import Iterable, Iterator

import pytest

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.records import Drop, arrow_schema
from phenolip.phenokg.steps import STEPS, find_step, make_config, make_step, settings


@pytest.mark.parametrize("name", STEPS)
def test_every_step_says_what_it_takes_gives_and_can_be_set_to(name):
    step = find_step(name)
    assert step.name == name and dataclasses.is_dataclass(step.config_type)
    assert arrow_schema(step.takes) and arrow_schema(step.gives)
    for setting in settings(step):
        assert setting.help, f"{name}.{setting.name} is not documented"


def test_the_chain_fits_together():
    apart = {
        "fetch_articles",
        "filter_figures",
        "detect_subfigures",
        "split_captions",
        "split_by_model",
        "align_captions",
        "refine_captions",
        "extract_findings",
    }  # also alone
    chain = [find_step(name) for name in STEPS if name not in apart]
    assert [step.takes for step in chain[1:]] == [step.gives for step in chain[:-1]]


@dataclasses.dataclass(frozen=True)
class Base:
    """Of a base.

    Attributes:
        path: Where
            it is.
    """

    path: str


@dataclasses.dataclass(frozen=True)
class Config(Base):
    """Of a step.

    Attributes:
        number: How many: two or more.
        names: Some.
        flag: Whether.
    """

    number: float | None = 2.0
    names: tuple[str, ...] = ("a", "b")
    flag: bool = False


def run(records: Iterable[int | Drop], config: Config) -> Iterator[str | Drop]:
    yield ""


def test_what_a_step_is_comes_from_its_annotations():
    step = make_step("x", run)
    assert (step.takes, step.gives, step.config_type) == (int, str, Config)
    assert [(s.name, s.help, s.default, s.takes_many) for s in settings(step)] == [
        ("path", "Where it is.", None, False),
        ("number", "How many: two or more.", "2.0", False),
        ("names", "Some.", "a b", True),
        ("flag", "Whether.", "False", False),
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"path": "p", "number": 3, "names": ["c"], "flag": True},
        {"path": "p", "number": "3", "names": "c", "flag": "true"},
    ],
)
def test_a_config_from_yaml_or_words(values):
    assert make_config(make_step("x", run), values) == Config("p", 3.0, ("c",), True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"path": "p", "nmber": 1}, "Step x has no setting 'nmber'. Close: 'number'"),
        ({}, "Step x needs a value for `path`."),
        ({"path": "p", "number": "many"}, "`number` of step x cannot be 'many'"),
        ({"path": "p", "names": [1]}, "`names` of step x cannot be"),
        ({"path": 1}, "`path` of step x cannot be 1"),
        ({"path": "p", "flag": "maybe"}, "`flag` of step x cannot be 'maybe'"),
    ],
)
def test_a_config_that_is_wrong(values, message):
    with pytest.raises(ConfigurationError) as caught:
        make_config(make_step("x", run), values)
    assert message in str(caught.value)


def test_a_check_of_the_config_itself_keeps_its_sentence():
    with pytest.raises(ConfigurationError, match="^`min_score` must be from 0 to 1, got 2.0.$"):
        make_config(find_step("link_phenotypes"), {"min_score": "2"})


def test_an_unknown_step_names_those_alike():
    with pytest.raises(ConfigurationError, match="Unknown step 'parse_article'. Close: 'parse_articles'"):
        find_step("parse_article")
