"""The classes of a task file: ``name: text``, ``name: [texts]`` or ``name: {values: [...], texts: [...]}``."""

from typing import Any

from phenolip.datasets_scripts.labelled_images import ImageClass
from phenolip.exceptions import ConfigurationError

_FIELDS = {"values", "texts"}


def read_classes(classes: Any) -> tuple[ImageClass, ...]:
    """The classes in their order; a class without values or texts goes by its name.

    Raises:
        ConfigurationError: There are fewer than two, or one is of another form.

    Example:
        >>> read_classes({"normal": None, "pneumonia": ["pneumonia", "infected lung"]})[1].texts
        ('pneumonia', 'infected lung')
    """
    if not isinstance(classes, dict) or len(classes) < 2:
        raise ConfigurationError(f"`classes` must name at least two classes, got {classes!r}.")
    return tuple(_read_class(str(name), settings) for name, settings in classes.items())


def _read_class(name: str, settings: Any) -> ImageClass:
    if not isinstance(settings, dict):
        settings = {"texts": settings}
    unknown = set(settings) - _FIELDS
    if unknown:
        raise ConfigurationError(f"`classes.{name}` takes texts and values, got '{sorted(map(str, unknown))[0]}'.")
    return ImageClass(
        name, values=_words(name, settings.get("values"), name), texts=_words(name, settings.get("texts"), name)
    )


def _words(name: str, given: Any, default: str) -> tuple[str, ...]:
    words = [default] if given is None else given if isinstance(given, list) else [given]
    if not words or not all(isinstance(word, (str, int)) and str(word).strip() for word in words):
        raise ConfigurationError(f"`classes.{name}` must hold words, got {given!r}.")
    return tuple(map(str, words))
