"""What a survey found, by the kind of place."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Findings:
    """What is to go, by the kind of place.

    A further kind of place is a field here with its line in `places`, a search in `made_files.py`, and its removal in
    `removal.py`.

    Attributes:
        rows: Table -> numbers of its rows.
        figures: Table of articles -> row -> places of its figures.
        num_rows: Table -> rows that it has.
        images: Picture files.
        articles: Files of articles that were named.
        arrow: Folders in the cache of `datasets` that hold a row.
        text_features: Files of stored text features -> numbers of their rows.
        gathered: Files of features in the order of a run's rows, which name none: they go where a row went.
        answers: Files of a language model's answers -> keys.
        pages: HTML pages and pictures of a report.
        partials: What a killed writer left.
        kgx: Files of a graph, which are written anew.
        models: Model folders that were trained on a row.
        texts_kept: Texts of the rows that go which rows that stay hold too.
        names_kept: Names of the rows that go which other rows, that stay, have too.
        named_pictures: File name that was given -> SHA-256 of a picture of that name -> where it was found first.
    """

    rows: dict[Path, list[int]] = field(default_factory=dict)
    figures: dict[Path, dict[int, list[int]]] = field(default_factory=dict)
    num_rows: dict[Path, int] = field(default_factory=dict)
    images: list[Path] = field(default_factory=list)
    articles: list[Path] = field(default_factory=list)
    arrow: list[Path] = field(default_factory=list)
    text_features: dict[Path, list[int]] = field(default_factory=dict)
    gathered: list[Path] = field(default_factory=list)
    answers: dict[Path, list[str]] = field(default_factory=dict)
    pages: list[Path] = field(default_factory=list)
    partials: list[Path] = field(default_factory=list)
    kgx: list[Path] = field(default_factory=list)
    models: list[Path] = field(default_factory=list)
    texts_kept: set[str] = field(default_factory=set)
    names_kept: set[str] = field(default_factory=set)
    named_pictures: dict[str, dict[str, Path]] = field(default_factory=lambda: defaultdict(dict))

    def places(self) -> dict[str, int]:
        """Kind of place -> how many rows or files of it go."""
        counts = {
            "rows of tables": sum(map(len, self.rows.values())),
            "figures of articles": sum(len(places) for rows in self.figures.values() for places in rows.values()),
            "pictures": len(self.images),
            "files of articles": len(self.articles),
            "tables in the cache of datasets": len(self.arrow),
            "stored text features": sum(map(len, self.text_features.values())),
            "files of features by row": len(self.gathered),
            "answers of a language model": sum(map(len, self.answers.values())),
            "pages of reports": len(self.pages),
            "graph files": len(self.kgx),
            "unfinished files": len(self.partials),
        }
        return {name: number for name, number in counts.items() if number}
