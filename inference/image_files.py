"""Image files named one by one or by their folders, and predictions for many of them."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from phenolip.inference.predict import CandidateScores, PhenotypePredictor

logger = logging.getLogger(__name__)

BATCH_SIZE = 32  # images scored at a time; one that cannot be read costs its batch a second try


def image_files(paths: Iterable[str | Path]) -> list[str]:
    """Files as they were named, and in place of a folder the images in and below it; hidden ones are left out.

    Raises:
        DataError: A folder holds no image.
    """
    files: list[str] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(str(path))
            continue
        inside = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.casefold() in IMAGE_SUFFIXES and not _is_hidden(file.relative_to(path)) and file.is_file()
        ]
        if not inside:
            raise DataError(f"Folder {path} must hold images ({', '.join(sorted(IMAGE_SUFFIXES))}), got none.")
        files += map(str, inside)
    return files


def score_files(
    predictor: "PhenotypePredictor", files: Sequence[str], *, max_bad_fraction: float
) -> Iterator[tuple[str, "CandidateScores"]]:
    """Each file and the scores of its one image; files that cannot be read are named in a warning and left out.

    Args:
        predictor: Scores the images.
        files: Image files.
        max_bad_fraction: Share of the files that may be left out, from 0 to 1.

    Raises:
        ConfigurationError: The share is none.
        DataError: More files than that cannot be read; the sentence is that of the last.
    """
    if not 0 <= max_bad_fraction <= 1:
        raise ConfigurationError(f"`max_bad_fraction` must be from 0 to 1, got {max_bad_fraction}.")
    num_bad = 0
    for start in range(0, len(files), BATCH_SIZE):
        batch = files[start : start + BATCH_SIZE]
        try:
            scores = predictor.score(batch)
        except DataError:
            for file in batch:
                try:
                    yield file, predictor.score([file])
                except DataError as error:
                    num_bad += 1
                    if num_bad > max_bad_fraction * len(files):
                        among = f" {num_bad} of {len(files)} images cannot be used." if len(files) > 1 else ""
                        raise DataError(f"{error}{among}") from error
                    logger.warning("%s It is left out.", error)
        else:
            yield from ((file, scores.row(row)) for row, file in enumerate(batch))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
