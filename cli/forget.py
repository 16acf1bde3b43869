"""`phenolip forget`: rows out of everything that was made of them."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

EXAMPLES = """examples:
  phenolip forget my_phenokg runs/phenokg runs/index runs/mini --ids PMC123 PMC77.1/fig2 --dry_run
      how many rows and features would go, and which pictures, pages and articles; nothing is changed
  phenolip forget ward_pairs runs/mini runs/index --ids images/0007.png --receipt private/receipt.json
      they go, then every file is searched for what must be gone; keep the receipt as private as the data
  phenolip forget ward_pairs runs/mini --groups patient-12 --ids_file ids.txt
      every row of a patient, case or study, and the ids of a file, one a line
  phenolip forget ward_pairs runs/mini --ids images/0007.png --check
      only the search, such as after a run on the source alone

An id is a row id, file name, figure as ARTICLE/FIGURE, article, PMC id or DOI (its figures go too), or the SHA-256
of an image file, which chooses where different pictures have one file name. A subfigure goes with its whole figure.
Copies of a picture go wherever their bytes are the same; name the row by its id where it was scaled down. Name every
folder that may hold copies, the source first of all.
What a trained model has learnt cannot be taken out of its weights: train again. docs/reliability.md has the rest."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the folders and what is to go."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("dirs", nargs="+", type=Path, metavar="DIR", help="folders to look through, of any kind")
    parser.add_argument("--ids", nargs="+", default=[], metavar="ID", help="rows, figures, articles, image hashes")
    parser.add_argument("--ids_file", metavar="FILE", help="more ids, one a line; # begins a remark")
    parser.add_argument("--groups", nargs="+", default=[], metavar="ID", help="patients, cases or studies, all rows")
    parser.add_argument("--dry_run", action="store_true", help="count, change nothing")
    parser.add_argument("--check", action="store_true", help="only search the folders for what must be gone")
    parser.add_argument("--receipt", metavar="FILE", help="default: forget-TIME.json in the first DIR")
    parser.add_argument(
        "--keep_datasets_cache",
        action="store_true",
        help="leave the copies alone that the package datasets keeps of tables it has read (HF_DATASETS_CACHE)",
    )


def run(args: argparse.Namespace) -> int:
    """Surveys, removes, searches, writes the receipt; 1 where a trace is left."""
    from phenolip.command_line import printable
    from phenolip.exceptions import ConfigurationError
    from phenolip.forget.receipt import describe
    from phenolip.forget.removal import locked, remove, take_up
    from phenolip.forget.selection import Selection
    from phenolip.forget.survey import survey
    from phenolip.provenance import write_json

    if args.dry_run and args.check:
        raise ConfigurationError("`--dry_run` and `--check` change nothing both; give one of them.")
    selection = Selection.of([*args.ids, *_ids_of(args.ids_file)], args.groups)
    given = list(dict.fromkeys(folder.expanduser().resolve() for folder in args.dirs))
    roots = [root for root in given if not any(other in root.parents for other in given)]
    caches = [] if args.keep_datasets_cache else _datasets_cache()
    with locked(roots):
        unfinished = take_up(roots, selection)
        found = survey(roots, selection, caches)
        if args.check:
            return _report(_traces(roots, caches, selection, found))
        _show(roots, found, args.dry_run)
        if args.dry_run:
            sys.stdout.write("Nothing was changed.\n")
            return 0
        remove(roots, found, selection, unfinished)
        left = _traces(roots, caches, selection, found)
    receipt = Path(args.receipt or roots[0] / f"forget-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json").expanduser()
    write_json(receipt, describe(roots, found, selection, left))
    sys.stdout.write(f"Receipt, as private as the data: {printable(str(receipt))}\n")
    return _report(left)


def _ids_of(path: str | None) -> list[str]:
    from phenolip.exceptions import ConfigurationError

    if path is None:
        return []
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"`--ids_file` {path} cannot be read as text ({type(error).__name__}).") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _datasets_cache() -> list[Path]:
    import datasets

    folder = Path(datasets.config.HF_DATASETS_CACHE).expanduser()
    return [folder] if folder.is_dir() else []


def _traces(roots: list[Path], caches: list[Path], selection, found) -> dict[Path, str]:
    from phenolip.forget.needles import find_bytes, needles_of
    from phenolip.forget.survey import files_below

    needles = needles_of(selection, found.texts_kept, found.names_kept)
    left: dict[Path, str] = {}
    for root in (*roots, *caches):
        left |= find_bytes(root, files_below([root]), needles, selection.hashes)
    return left


def _show(roots: list[Path], found, in_full: bool) -> None:
    from phenolip.command_line import printable

    lines = [f"{number:>9,} {name}" for name, number in found.places().items()] or ["Nothing was found."]
    for path in {**found.rows, **found.figures}:
        number = len(found.rows.get(path, ())) + sum(map(len, found.figures.get(path, {}).values()))
        lines.append(f"{number:>9,} of {found.num_rows[path]:,} rows: {_place(path, roots)}")
    if in_full:
        lines += [
            f"{kind} goes: {_place(path, roots)}"
            for kind, paths in (
                ("picture", found.images),
                ("page", found.pages),
                ("file of an article", found.articles),
            )
            for path in paths
        ]
    lines += [
        f"Not removable: the weights of {folder}, which was trained on a row; train it again."
        for folder in found.models
    ]
    if found.arrow:
        lines.append("Tables in the cache of datasets go whole; they are made again when data is read or prepared.")
    if found.texts_kept:
        lines.append(f"{len(found.texts_kept):,} texts stay, since rows that stay hold them too.")
    if found.names_kept:
        lines.append(f"{len(found.names_kept):,} names stay, since other rows with other texts have them too.")
    sys.stdout.write("\n".join(map(printable, lines)) + "\n")


def _place(path: Path, roots: list[Path]) -> Path:
    root = next((root for root in roots if path.is_relative_to(root)), None)
    return path.relative_to(root.parent) if root else path


def _report(left: dict[Path, str]) -> int:
    from phenolip.command_line import printable

    for path, kind in sorted(left.items()):
        sys.stdout.write(printable(f"still holds a {kind}: {path}") + "\n")
    if not left:
        sys.stdout.write("No file of these folders holds a name, text or picture of what is gone.\n")
    return int(bool(left))
