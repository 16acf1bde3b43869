"""The construction steps by name: what each takes, gives and can be set to, read off its `run(records, config)`."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from phenolip.exceptions import ConfigurationError, near_matches
from phenolip.phenokg.records import Drop

#: Modules of this folder that are a step, in the order of the chain.
STEPS = (
    "fetch_articles",
    "parse_articles",
    "link_phenotypes",
    "select_figures",
    "filter_figures",
    "detect_subfigures",
    "split_captions",
    "split_by_model",
    "align_captions",
    "refine_captions",
    "assemble",
    "split_pairs",
    "extract_findings",
)

Run = Callable[[Iterable[Any], Any], Iterator[Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """A step, not yet set up.

    Attributes:
        name: Of its module.
        run: Records and a config in; records and Drops out, in order, none to many for each.
        takes: Type of the records in.
        gives: Type of the records out.
        config_type: Frozen dataclass of its settings, every one documented under `Attributes`.
        version: Rises when the step makes other records of the same input.
    """

    name: str
    run: Run
    takes: type
    gives: type
    config_type: type
    version: int = 1


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a step's config, as a person sets it.

    Attributes:
        name: Of the field.
        help: From the docstring.
        default: As it is written on a command line; None if a value is needed.
        takes_many: Whether it is a list.
    """

    name: str
    help: str
    default: str | None
    takes_many: bool


def find_step(name: str, *, in_build: bool = False) -> Step:
    """The step of a name.

    Args:
        name: Of its module.
        in_build: As the chain runs it, on the figures of articles; alone, some steps take files or captions.

    Raises:
        ConfigurationError: If there is none; the message names steps that read alike.
    """
    if name not in STEPS:
        raise ConfigurationError(f"Unknown step '{name}'.{near_matches(name, STEPS)}")
    module = import_module(f"phenolip.phenokg.{name}")
    run = module.run
    if in_build:
        run = import_module("phenolip.phenokg.figure_steps").IN_BUILD.get(name, run)
    return make_step(name, run, version=getattr(module, "VERSION", 1))


def make_step(name: str, run: Run, version: int = 1) -> Step:
    """The step that a function is, by its annotations `Iterable[In]`, a config, and `Iterator[Out | Drop]`.

    Example:
        >>> step = find_step("link_phenotypes")
        >>> step.takes.__name__, step.gives.__name__, step.config_type.__name__
        ('Article', 'LinkedFigure', 'LinkConfig')
    """
    hints = typing.get_type_hints(run)
    return Step(name, run, _record_type(hints["records"]), _record_type(hints["return"]), hints["config"], version)


def settings(step: Step) -> tuple[Setting, ...]:
    """What a step can be set to."""
    texts = attribute_texts(step.config_type)
    return tuple(
        Setting(field.name, texts.get(field.name, ""), _default(field), _takes_many(field.type))
        for field in dataclasses.fields(step.config_type)
    )


def make_config(step: Step, values: Mapping[str, Any]) -> Any:
    """A step's config from YAML values or words of a command line, every one checked.

    Raises:
        ConfigurationError: If a setting is unknown, missing, of another type or out of range.
    """
    hints = typing.get_type_hints(step.config_type)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(step.config_type)}
    if unknown := [name for name in values if name not in fields]:
        raise ConfigurationError(f"Step {step.name} has no setting '{unknown[0]}'.{near_matches(unknown[0], fields)}")
    given = {name: _value(step, name, fields[name], value) for name, value in values.items()}
    for setting in settings(step):
        if setting.default is None and setting.name not in given:
            raise ConfigurationError(f"Step {step.name} needs a value for `{setting.name}`.")
    return step.config_type(**given)


def _value(step: Step, name: str, hint: Any, value: Any) -> Any:
    if _takes_many(hint) and isinstance(value, str):
        value = [value]
    try:
        return msgspec.convert(value, _without_paths(hint), strict=not isinstance(value, str))
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"`{name}` of step {step.name} cannot be {value!r}: {error}.") from None


def _record_type(hint: Any) -> type:
    """X of `Iterable[X | Drop]`."""
    (inner,) = typing.get_args(hint)
    members = typing.get_args(inner) if isinstance(inner, types.UnionType) else (inner,)
    (record_type,) = (member for member in members if member is not Drop)
    return record_type


def _without_paths(hint: Any) -> Any:
    return str if hint is Path or Path in typing.get_args(hint) else hint


def _takes_many(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple


def _default(field: dataclasses.Field) -> str | None:
    if field.default is dataclasses.MISSING:
        return None
    return " ".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)


def attribute_texts(config_type: type) -> dict[str, str]:
    """What a config's docstring, and those of its bases, say on each field."""
    texts = {}
    for kind in reversed(config_type.__mro__):
        section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE):
            texts[name] = " ".join(text.split())
    return texts
