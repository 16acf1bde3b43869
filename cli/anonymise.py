"""`phenolip anonymise`: a copy of a folder of images without names, EXIF, text and DICOM tags."""

import argparse
import hashlib
import hmac
import io
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image
from tqdm import tqdm

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import IMAGE_SUFFIXES, decode_image
from phenolip.whole_files import whole_file

EXAMPLES = """examples:
  phenolip anonymise ward/ --output shared/ --mapping private/names.jsonl
      shared/3f2a....png, pixels alone; which name became which stands in private/names.jsonl, that only you can read
  phenolip anonymise more/ --output shared/ --mapping private/more.jsonl --key private/names.key
      the same key: an image keeps its new name from one run to the next

Pixels are not looked at: a name burnt into a picture stays, and a face is a face. Captions and
reports are not copied."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the folders, the mapping and the key."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("folder", metavar="DIR", help="images, in folders of any depth; links are not followed")
    parser.add_argument("--output", required=True, metavar="DIR", help="where the copies go, as PNG, in one folder")
    parser.add_argument(
        "--mapping", required=True, metavar="FILE", help="old and new names, JSON lines, private; not inside --output"
    )
    parser.add_argument(
        "--key", metavar="FILE", help="secret that new names depend on; made where absent (default: MAPPING.key)"
    )
    parser.add_argument(
        "--max_bad_fraction",
        type=float,
        default=0.0,
        help="share of images that may be unreadable, 0 to 1 (default: 0)",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the copies and the mapping, and says how many."""
    source, output, mapping = (Path(path).expanduser() for path in (args.folder, args.output, args.mapping))
    key_path = Path(args.key).expanduser() if args.key else mapping.with_name(mapping.name + ".key")
    _check_places(source, output, mapping, key_path)
    paths = [path for path in _files(source) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise DataError(f"Folder {source} must hold at least one image, got none.")
    key = _key(key_path)
    rows = []
    for path in tqdm(paths, desc="Anonymising", unit="image", disable=None):
        name = path.relative_to(source).as_posix()
        try:
            rows.append({"old": name, "new": _copy(path, output, new_name(name, key))})
        except DataError:
            rows.append({"old": name, "new": None})
    with private_file(mapping) as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    bad = sum(row["new"] is None for row in rows)
    sys.stdout.write(
        f"{len(paths) - bad} images without names and tags: {output}. Names: {mapping} (keep it private).\n"
    )
    if bad > args.max_bad_fraction * len(paths):
        raise DataError(
            f"{bad} of {len(paths)} images cannot be read, more than `--max_bad_fraction` {args.max_bad_fraction} "
            f"allows; {mapping} has null for them."
        )
    return 0


def new_name(name: str, key: bytes) -> str:
    """Name of a copy: 128 bits of a keyed hash, which nobody can find by trying names without the key."""
    return hmac.new(key, name.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:32]


def pixels_alone(image: Image.Image) -> bytes:
    """A PNG of the pixels, with no chunk of text, time, EXIF or colour profile.

    Shapes: RGB of any size, as `decode_image` gives it.
    """
    plain = Image.frombytes("RGB", image.size, image.tobytes())  # of no file: it has no `info` to write
    buffer = io.BytesIO()
    plain.save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def private_file(path: Path) -> Iterator[IO[str]]:
    """A whole file that its owner alone can read (mode 600), from its first byte on."""
    before = os.umask(0o077)
    try:
        with whole_file(path, "w") as file:
            yield file
    finally:
        os.umask(before)


def _copy(path: Path, output: Path, stem: str) -> str:
    data = pixels_alone(decode_image(path))
    with whole_file(output / f"{stem}.png") as file:
        file.write(data)
    return f"{stem}.png"


def _files(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        found += [path for name in sorted(names) if not (path := Path(parent, name)).is_symlink()]
    return found


def _check_places(source: Path, output: Path, mapping: Path, key: Path) -> None:
    if not source.is_dir():
        raise ConfigurationError(f"`DIR` must be a folder of images, got {source}.")
    for name, path in (("--mapping", mapping), ("--key", key)):
        if path.resolve().is_relative_to(output.resolve()):
            raise ConfigurationError(f"`{name}` must lie outside `--output`, which is to be shared, got {path}.")
    if output.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(output.resolve()):
        raise ConfigurationError(f"`--output` must lie apart from the images, got {output}.")
    if mapping.exists():
        raise ConfigurationError(f"`--mapping` must be a new file, and {mapping} exists: its names would be lost.")


def _key(path: Path) -> bytes:
    if not path.exists():
        with private_file(path) as file:
            file.write(secrets.token_hex(32) + "\n")
    key = path.read_bytes().strip()
    if len(key) < 32:
        raise ConfigurationError(f"`--key` must hold at least 32 characters, got {len(key)} in {path}.")
    return key
