"""What is built and how: the steps of a YAML file, in its order, each with its settings."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from phenolip.exceptions import ConfigurationError, near_matches
from phenolip.ontology import load_ontology
from phenolip.phenokg.backends.transformers_chat import folder_state
from phenolip.phenokg.package_data import package_data_sha256
from phenolip.phenokg.records import ArticleFile, ArticleId, arrow_schema
from phenolip.phenokg.split_pairs import STEP as LAST
from phenolip.phenokg.steps import Run, Step, find_step, make_config
from phenolip.plain_yaml import read_yaml
from phenolip.provenance import content_hash

#: Settings that decide where and how work is done, not what comes out: paths, whose contents are in an identity if
#: they matter, and the ways to reach a model.
_NO_OUTCOME = frozenset(
    """media hpo cache base_url key_variable timeout_s max_tries concurrency requests_per_minute batch_size
    device""".split()
)
#: Settings of steps that are `articles`, since an identity covers the files there.
_FOLDERS = {
    "fetch_articles": "folder",
    "filter_figures": "media",
    "detect_subfigures": "media",
    "align_captions": "media",
    "assemble": "media",
}
#: Settings that are files: an identity covers what is in them.
_FILES = ("head",)
#: Settings that may be a folder, or else name a model on the Hub: an identity covers the state of its files.
_MODELS = ("model", "tower")

LoadModels = Callable[[Step, Any], Run]


@dataclass(frozen=True, slots=True)
class Release:
    """The ontology release that a step uses; its fields are those of `PhenotypeOntology`."""

    release: str
    sha256: str
    source: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A step, set up.

    Attributes:
        step: What is run.
        config: Of the type that it takes.
        hpo: What it reads beside its records; None if nothing.
        load_models: Gives the step's `run` with the models that it takes, where it works; None if it takes none.
    """

    step: Step
    config: Any
    hpo: Release | None = None
    load_models: LoadModels | None = None

    def run(self) -> Callable[[Iterator[Any]], Iterator[Any]]:
        """What makes outcomes of records; models are loaded now."""
        run = self.load_models(self.step, self.config) if self.load_models else self.step.run
        return lambda records: run(records, self.config)

    @property
    def identity(self) -> str:
        """Changes with all that changes the step's outcome for the same records."""
        values = {name: value for name, value in _plain(self.config).items() if name not in _NO_OUTCOME}
        values |= {name: _file_sha256(name, values[name]) for name in _FILES if values.get(name) is not None}
        values |= {name: state for name in _MODELS if (state := folder_state(Path(values.get(name) or os.devnull)))}
        columns, hpo = arrow_schema(self.step.gives), self.hpo.sha256 if self.hpo else ""
        parts = [self.step.name, f"{self.step.version}", f"{values}", f"{columns}", hpo, package_data_sha256()]
        return content_hash(parts)


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """A whole build.

    Attributes:
        articles: Folder of JATS files, searched recursively, the figures' files beside them.
        output: Folder for the parts of every step, and at the end `tables/` and `manifest.json`.
        stages: All steps from articles to `split_pairs`.
        fetch: The step that fetches into `articles` beforehand, if there is one.
        ids: File with the ids of the articles to fetch, one a line; see `fetch_articles`.
        shard_size: Articles that are worked on together, and of which memory holds the figures' texts at once.
        max_dropped_fraction: Of the records of a step, the share that may be dropped as damaged; above it the build
            ends with an error. Reasons that are a choice or no damage, such as a licence, do not count.
    """

    articles: str
    output: str
    stages: tuple[Stage, ...]
    fetch: Stage | None = None
    ids: str | None = None
    shard_size: int = 200
    max_dropped_fraction: float = 0.5

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise ConfigurationError(f"`shard_size` must be at least 1, got {self.shard_size}.")
        if not 0 <= self.max_dropped_fraction <= 1:
            raise ConfigurationError(f"`max_dropped_fraction` must be from 0 to 1, got {self.max_dropped_fraction}.")
        articles, output = Path(os.path.realpath(self.articles)), Path(os.path.realpath(self.output))
        if output.is_relative_to(articles):
            raise ConfigurationError(f"`output` must lie outside of `articles` ({self.articles}), got {self.output}.")
        if (self.fetch is None) != (self.ids is None):
            raise ConfigurationError("`ids` and the step fetch_articles go together: what is fetched, and how.")
        takes: type = ArticleFile
        for stage in self.stages:
            if stage.step.takes is not takes:
                raise ConfigurationError(
                    f"Step {stage.step.name} takes {stage.step.takes.__name__} records, and the step before it gives "
                    f"{takes.__name__}."
                )
            takes = stage.step.gives
        if not self.stages or self.stages[-1].step.name != LAST:
            raise ConfigurationError(f"The last of the `steps` must be {LAST}.")


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings of a YAML file, not yet checked: fields of `BuildConfig`, and `steps` with the settings of each."""
    try:
        loaded = read_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"`config` {path} cannot be read as YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(loaded, dict) or not isinstance(loaded.get("steps"), dict):
        raise ConfigurationError(f"{path} must hold `field: value` lines and `steps:` with a line for each step.")
    for name, values in loaded["steps"].items():
        if not isinstance(values, dict | None):
            raise ConfigurationError(f"{path}: step '{name}' must have `field: value` lines, got {values!r}.")
    return loaded | {"steps": {str(name): dict(values or {}) for name, values in loaded["steps"].items()}}


def make_build(values: Mapping[str, Any], load_models: LoadModels | None = None) -> BuildConfig:
    """A build from settings as `read_settings` gives them, from words of a command line too.

    Args:
        values: Settings.
        load_models: See `Stage`; needed by steps that take models.

    Raises:
        ConfigurationError: If a setting is unknown, missing, of another type or out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(BuildConfig) if field.name not in ("stages", "fetch")}
    if unknown := [name for name in values if name not in fields and name != "steps"]:
        raise ConfigurationError(
            f"A build has no setting '{unknown[0]}'.{near_matches(unknown[0], [*fields, 'steps'])}"
        )
    given = {name: _value(name, fields[name].type, values[name]) for name in fields if values.get(name) is not None}
    for name in ("articles", "output"):
        if name not in given:
            raise ConfigurationError(f"A build needs `{name}`: give --{name} DIR, or a line of the YAML file.")
    steps = values.get("steps", {}).items()
    stages = [_stage(name, settings, given["articles"], load_models) for name, settings in steps]
    fetch = stages.pop(0) if stages and stages[0].step.takes is ArticleId else None
    return BuildConfig(stages=tuple(stages), fetch=fetch, **given)


def described(config: BuildConfig) -> dict[str, Any]:
    """All settings as JSON values, defaults included."""
    stages = [config.fetch, *config.stages] if config.fetch else config.stages
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    del values["stages"], values["fetch"]
    return values | {"steps": {stage.step.name: _plain(stage.config) for stage in stages}}


def _stage(name: str, settings: Mapping[str, Any], articles: str, load_models: LoadModels | None) -> Stage:
    step = find_step(name, in_build=True)
    folder = _FOLDERS.get(name)
    if folder in settings:
        raise ConfigurationError(f"`{folder}` of step {name} is `articles` in a build; leave it out.")
    filled = {**settings, folder: os.path.abspath(articles)} if folder else dict(settings)
    for setting in ("hpo", "cache", *_FILES, *_MODELS):
        path = filled.get(setting)
        if path and isinstance(path, str) and (setting not in _MODELS or os.path.isdir(path)):
            filled[setting] = os.path.abspath(filled[setting])  # workers may run in another folder
    config = make_config(step, filled)
    return Stage(step, config, _release(config.hpo) if hasattr(config, "hpo") else None, load_models)


def _file_sha256(name: str, path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigurationError(f"`{name}` {path} cannot be read: {error.strerror or error}.") from None


def _release(path: str | None) -> Release:
    ontology = load_ontology(path)
    return Release(ontology.release, ontology.sha256, ontology.source)


def _value(name: str, hint: Any, value: Any) -> Any:
    try:
        return msgspec.convert(value, hint, strict=not isinstance(value, str))
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"`{name}` cannot be {value!r}: {error}.") from None


def _plain(config: Any) -> dict[str, Any]:
    """Settings as JSON values."""
    values = ((field.name, getattr(config, field.name)) for field in dataclasses.fields(config))
    return {name: str(value) if isinstance(value, Path) else _listed(value) for name, value in values}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
