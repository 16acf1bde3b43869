"""Decisions of a person on clusters: `decisions.yaml`, one `NUMBER: keep` or `NUMBER: drop` a line.

Its first line names the clustering, `clustering: 0f3a...`, so that it is not applied to another one. Read are plain
mappings only: no anchors, no tags, nothing nested.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from phenolip.exceptions import DataError
from phenolip.whole_files import whole_file

Decision = Literal["keep", "drop"]
_MAX_BYTES = 500_000  # 40,000 decisions
_WORDS = ("keep", "drop")


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a person decided.

    Attributes:
        by_cluster: Decision by the cluster's number; a cluster that is not there is undecided.
        clustering: Identity of the clustering that they are of; empty if the file does not say.
    """

    by_cluster: Mapping[int, Decision]
    clustering: str = ""

    def check(self, num_clusters: int, clustering: str, where: str = "decisions") -> None:
        """Raises DataError if they are of another clustering, or of clusters that it does not have."""
        if self.clustering and self.clustering != clustering:
            raise DataError(f"{where} is of the clustering {self.clustering[:40]!r}, but this one is {clustering!r}.")
        strangers = [number for number in self.by_cluster if number >= num_clusters]
        if strangers:
            raise DataError(f"{where} decides on cluster {strangers[0]}, but there are {num_clusters}, from 0.")


def read_decisions(path: str | Path) -> Decisions:
    """The decisions of a file.

    Raises:
        DataError: It cannot be read, or holds anything else; the message names the line.
    """
    try:
        size = os.stat(path).st_size
        if size > _MAX_BYTES:
            raise DataError(f"{path} must have at most {_MAX_BYTES:,} bytes, got {size:,}.")
        return parse_decisions(Path(path).read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise DataError(f"{path} must be UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None


def parse_decisions(text: str, where: str = "decisions") -> Decisions:
    """The decisions of a text; see `read_decisions`.

    Example:
        >>> parse_decisions("clustering: 0f3a\\n0: keep\\n7: drop\\n")
        Decisions(by_cluster={0: 'keep', 7: 'drop'}, clustering='0f3a')
    """
    decided: dict[int, Decision] = {}
    clustering = None
    for line, key, value in _pairs(text, where):
        if key == "clustering" and clustering is None and re.fullmatch(r"[0-9a-f]{1,64}", value):
            clustering = value
        elif re.fullmatch(r"0|[1-9][0-9]{0,8}", key) and value in _WORDS:
            if int(key) in decided:
                raise DataError(f"{where} line {line}: cluster {key} is decided twice.")
            decided[int(key)] = value
        else:
            raise DataError(
                f"{where} line {line} must be `NUMBER: keep` or `NUMBER: drop`, got `{key[:40]}: {value[:40]}`."
            )
    return Decisions(decided, clustering or "")


def write_decisions(decisions: Decisions, path: str | Path) -> None:
    """Writes decisions as the review page does."""
    lines = [f"clustering: '{decisions.clustering}'"] if decisions.clustering else []
    lines += [f"{number}: {decisions.by_cluster[number]}" for number in sorted(decisions.by_cluster)]
    with whole_file(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def _pairs(text: str, where: str) -> list[tuple[int, str, str]]:
    """Line, key and value of a flat mapping of plain words.

    The events of the parser are read, not what it would build of them: no alias can grow, no nesting be followed.
    """
    scalars: list[yaml.ScalarEvent] = []
    num_mappings = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = event.start_mark.line + 1
            if isinstance(event, yaml.ScalarEvent) and event.anchor is None and event.tag is None and num_mappings:
                scalars.append(event)
            elif isinstance(event, yaml.MappingStartEvent) and event.anchor is None and num_mappings == 0:
                num_mappings = 1
            elif isinstance(event, yaml.NodeEvent):
                raise DataError(f"{where} line {line} must be `NUMBER: keep` or `NUMBER: drop`, and nothing else.")
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{where} is no YAML: {' '.join(str(error).split())}.") from None
    pairs = zip(scalars[::2], scalars[1::2], strict=True)
    return [(key.start_mark.line + 1, key.value, value.value) for key, value in pairs]
