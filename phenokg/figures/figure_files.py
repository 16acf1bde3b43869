"""The image file behind a figure's hrefs: looked for in the article's own folder and never outside of it.

An href may lack its suffix, or have that of another rendition than the one that is there; an href "fig1.tif" finds
"fig1.jpg" too. A file of the very name comes first, then the one with most pixels.
"""

import errno
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

from phenolip.exceptions import DataError
from phenolip.images import SUFFIXES, ImageTooLargeError, decode_image, measure_image
from phenolip.phenokg.articles.article_folder import folded

#: Suffixes of what publishers put into a `graphic` and no decoder of ours opens.
OTHER_SUFFIXES = frozenset(".pdf .eps .ps .ai .svg .svgz .emf .wmf .zip .mp4 .mov .avi .wmv .mpg .mpeg .webm".split())
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:|//")
_DRIVE = re.compile(r"[A-Za-z]:")


class NoImageError(Exception):
    """A figure has no image that can be used; the arguments are a Drop's reason and detail."""


@dataclass(frozen=True, slots=True)
class FigureImage:
    """The image of a figure.

    Attributes:
        path: Below the folder of all articles, with forward slashes.
        data: The file.
        picture: Decoded, RGB.
        num_images: Images of the figure that are there; files that share a name but for the suffix are one.
    """

    path: str
    data: bytes
    picture: Image.Image
    num_images: int


class FigureFiles:
    """Finds the images of figures.

    Args:
        media: Folder of all articles.
        max_bytes: Largest file read.
        max_pixels: Width times height above which an image is not decoded.
    """

    def __init__(self, media: Path, *, max_bytes: int, max_pixels: int) -> None:
        self._media = Path(os.path.realpath(media))
        self._max_bytes, self._max_pixels = max_bytes, max_pixels
        self._listed: tuple[Path, dict[str, list[str]]] | None = None

    def find(self, source: str, hrefs: Sequence[str]) -> FigureImage:
        """The image of a figure of the article in `source`, a path below the folder of all articles.

        Raises:
            NoImageError: "no_graphic", "unsafe_href", "remote_href", "missing_file", "not_raster", "too_large_image"
                or "unreadable_image"; of several hrefs, what is wrong with the first.
        """
        if not hrefs:
            raise NoImageError("no_graphic", "The figure has no graphic.")
        folder = self._below(self._media, source).parent
        problems: list[NoImageError] = []
        found: dict[Path, bool] = {}
        for href in hrefs:
            try:
                for path, is_exact in self._paths(folder, href):
                    found[path] = is_exact or found.get(path, False)
            except NoImageError as problem:
                problems.append(problem)
        for path in self._best_first(found):
            try:
                data = self._read(path)
                picture = decode_image(data, max_pixels=self._max_pixels)
            except NoImageError as problem:
                problems.append(problem)
            except ImageTooLargeError as error:
                problems.append(NoImageError("too_large_image", _named(error, path)))
            except DataError as error:
                problems.append(NoImageError("unreadable_image", _named(error, path)))
            else:
                num_images = len({_stem(path.name) for path in found})
                return FigureImage(path.relative_to(self._media).as_posix(), data, picture, num_images)
        raise problems[0]

    def _best_first(self, found: dict[Path, bool]) -> list[Path]:
        """Files of the very name before others, large before small; of equals the first in the article."""
        if len(found) == 1:
            return list(found)
        ranks = {path: (is_exact, self._num_pixels(path)) for path, is_exact in found.items()}
        return sorted(found, key=ranks.__getitem__, reverse=True)

    def _paths(self, folder: Path, href: str) -> list[tuple[Path, bool]]:
        """Raster files that an href may mean, and whether it is their name to the letter, but for its case."""
        for spelling in dict.fromkeys((href, unquote(href))):
            _refuse_unsafe(spelling)
            path = self._below(folder, spelling)
            names = self._list(path.parent).get(folded(_stem(path.name)), [])
            rasters = sorted(name for name in names if Path(name).suffix.lower() in SUFFIXES)
            if rasters:
                return [(path.parent / name, folded(name) == folded(path.name)) for name in rasters]
            if names:
                detail = f"Of {href[:80]!r} there is only {names[0][:80]!r}, which is no raster image."
                raise NoImageError("not_raster", detail)
        raise NoImageError("missing_file", f"There is no file for {href[:80]!r}.")

    def _below(self, folder: Path, name: str) -> Path:
        """A path strictly below a folder, also once links are followed."""
        path = Path(os.path.normpath(folder / name))
        if folder not in path.parents or not Path(os.path.realpath(path)).is_relative_to(folder):
            raise NoImageError("unsafe_href", f"{name[:80]!r} leads out of the article's folder.")
        return path

    def _list(self, folder: Path) -> dict[str, list[str]]:
        """Names of the files in a folder, by their stem; of the last folder asked for, articles come in that order."""
        if self._listed is None or self._listed[0] != folder:
            names: dict[str, list[str]] = {}
            try:
                for name in os.listdir(folder):
                    names.setdefault(folded(_stem(name)), []).append(name)
            except OSError as error:
                if error.errno not in _NO_FOLDER:
                    raise NoImageError("unreadable_image", f"Its folder cannot be listed: {error.strerror}.") from None
            self._listed = folder, names
        return self._listed[1]

    def _num_pixels(self, path: Path) -> int:
        """By the file's header; 0 where it cannot be used, so that it is tried last."""
        try:
            width, height = measure_image(self._read(path), path.name, max_pixels=self._max_pixels)
        except (NoImageError, DataError):
            return 0
        return width * height

    def _read(self, path: Path) -> bytes:
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise NoImageError("unreadable_image", f"{path.name[:80]!r} is not a plain file.")
            with path.open("rb") as file:
                data = file.read(self._max_bytes + 1)
        except OSError as error:
            raise NoImageError("unreadable_image", f"{path.name[:80]!r} cannot be read: {error.strerror}.") from None
        if len(data) > self._max_bytes:
            raise NoImageError("too_large_image", f"{path.name[:80]!r} has more than {self._max_bytes} bytes.")
        return data


def _refuse_unsafe(href: str) -> None:
    if _DRIVE.match(href) or "\\" in href or "\0" in href or href.startswith("/") and not href.startswith("//"):
        raise NoImageError("unsafe_href", f"{href[:80]!r} is no path below the article's folder.")
    if _SCHEME.match(href):
        raise NoImageError("remote_href", f"{href[:80]!r} is an address, not a file of the article.")


def _stem(name: str) -> str:
    """The name without the suffix of a picture or film; dots of other kinds are part of the name."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in SUFFIXES | OTHER_SUFFIXES else name


def _named(error: DataError, path: Path) -> str:
    return str(error).replace("the image", path.name[:80], 1)
