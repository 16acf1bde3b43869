"""YAML files from anybody: plain values alone, and no few lines that stand for millions."""

import re
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1 << 16  # of plain PyYAML, some two seconds
MAX_BITS = 4096  # of an integer
MAX_DEPTH = 200  # of brackets
MAX_NODES = 100_000  # aliases counted as what they stand for


def read_yaml(path: str | Path) -> Any:
    """What `yaml.safe_load` gives, of a file of bounded size.

    Aliases are allowed, since `yaml.dump` writes them, but not towers of them: ten lines of nine aliases each are a
    gigabyte as soon as somebody prints the value.

    Raises:
        OSError, UnicodeDecodeError: The file cannot be read.
        yaml.YAMLError: It is no YAML, has a tag that makes an object, or is too large.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        ...     _ = file.write("a: [1, no]")
        ...     file.flush()
        ...     read_yaml(file.name)
        {'a': [1, False]}
    """
    with Path(path).open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise yaml.YAMLError(f"it must have at most {MAX_BYTES:,} bytes")
    return parse_yaml(data.decode("utf-8"))


def parse_yaml(text: str) -> Any:
    """What `read_yaml` gives, of a text.

    Raises:
        yaml.YAMLError: It is no YAML, or has a tag that makes an object.
    """
    if _deepest(text) > MAX_DEPTH:  # PyYAML would find it out too, in seconds
        raise yaml.YAMLError("it has too many brackets within brackets")
    try:
        if "*" in text:  # or there are no aliases
            _count(yaml.compose(text, _Loader), {})
        return yaml.load(text, _Loader)  # noqa: S506 it makes what SafeLoader makes
    except RecursionError:
        raise yaml.YAMLError("it has too many brackets within brackets") from None
    except yaml.YAMLError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:  # a date 2000-99-99
        raise yaml.YAMLError(f"it has a value that is none: {error}") from None


class _Loader(yaml.SafeLoader):
    """Without integers so long that Python refuses to write them, in a message too."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node)
        if value.bit_length() > MAX_BITS:
            raise yaml.YAMLError(f"its integers must have at most {MAX_BITS:,} bits")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _deepest(text: str) -> int:
    """The most brackets that are open at once, those in texts counted too."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = max(0, depth + (1 if bracket in "[{" else -1))
        deepest = max(deepest, depth)
    return deepest


def _count(node: yaml.Node | None, known: dict[int, int | None]) -> int:
    if id(node) in known:
        if known[id(node)] is None:
            raise yaml.YAMLError("an alias must not stand within what it stands for")
        return known[id(node)]
    known[id(node)], total = None, 1
    if isinstance(node, yaml.MappingNode):
        total += sum(_count(key, known) + _count(value, known) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        total += sum(_count(value, known) for value in node.value)
    if total > MAX_NODES:
        raise yaml.YAMLError(f"its aliases must stand for at most {MAX_NODES:,} values")
    known[id(node)] = total
    return total
