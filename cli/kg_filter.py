"""`phenolip kg filter`: drop what is not medical, the paper's way: cluster, review, apply; and train a classifier."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from tqdm.auto import tqdm

from phenolip.exceptions import DataError
from phenolip.phenokg.record_files import find_images, to_line
from phenolip.phenokg.records import Drop
from phenolip.whole_files import whole_file

HELP = "keep medical images: cluster a folder, review the clusters on a page, apply, train a classifier"
_TEXT = """Figures of articles are mostly plots, tables and diagrams. Two ways to keep what is medical:

by hand, as the paper does (three commands and ten minutes of looking):
  phenolip kg filter cluster --images figures --output runs/filter
      features of each image, then two-level k-means; runs/filter gets features/ and clusters.parquet. A run that was
      stopped goes on where it was.
  phenolip kg filter review --clusters runs/filter/clusters.parquet --output runs/filter/review.html
      one page to open in a browser: ten images of each cluster. Keys K keep, D drop, arrows move, N next undecided;
      the button downloads decisions.yaml. Nothing leaves the computer.
  phenolip kg filter apply --clusters runs/filter/clusters.parquet --decisions decisions.yaml --output figures.jsonl
      a row an image with "is_medical"; images of undecided clusters are in figures.drops.jsonl

by a classifier:
  phenolip kg run filter_figures --input figures --output figures.jsonl
      with the classifier in the package (docs/medical-filter.md says how good it is)
  phenolip kg filter train --clusters runs/filter/clusters.parquet --decisions decisions.yaml --output head.json
      your own, from your decisions; prints precision and recall on clusters that it did not see
  phenolip kg run filter_figures --input more_figures --output figures.jsonl --head head.json"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declares `filter` among the commands of `phenolip kg`, with its own sub-commands."""
    form = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = commands.add_parser("filter", help=HELP, description=_TEXT, **form)
    actions = parser.add_subparsers(dest="filter_command", required=True, metavar="COMMAND")
    cluster = actions.add_parser("cluster", help="images to clusters of images that look alike", allow_abbrev=False)
    cluster.add_argument("--images", required=True, metavar="DIR", help="searched recursively")
    cluster.add_argument("--output", required=True, metavar="DIR", help="gets features/ and clusters.parquet")
    cluster.add_argument(
        "--tower",
        default="efficientnet-lite0",
        metavar="DIR|ID",
        help="vision model whose features are clustered: a folder or Hub id, also of a CLIP or PhenoLIP, such as "
        "facebook/dinov2-base (default: efficientnet-lite0, from its package)",
    )
    cluster.add_argument("--image_size", type=int, default=224, help="side in pixels that the tower sees (224)")
    cluster.add_argument("--num_first", type=int, default=20, help="clusters of the first level (the paper's 20)")
    cluster.add_argument("--num_second", type=int, default=20, help="that each is split into (the paper's 20)")
    cluster.add_argument("--seed", type=int, default=42, help="of the first centres (the paper's 42)")
    review = actions.add_parser("review", help="clusters to one HTML page of keep and drop", allow_abbrev=False)
    _add_clusters(review)
    review.add_argument("--output", required=True, metavar="FILE.html", help="open it in any browser")
    review.add_argument("--per_cluster", type=int, default=10, help="images shown of each cluster (the paper's 10)")
    review.add_argument("--max_side", type=int, default=160, help="of a shown image, in pixels (160)")
    review.add_argument("--seed", type=int, default=42, help="draws the images shown (42)")
    apply = actions.add_parser("apply", help="decisions to a row an image", allow_abbrev=False)
    _add_clusters(apply)
    _add_decisions(apply)
    apply.add_argument("--output", required=True, metavar="FILE.jsonl", help="a row an image, with is_medical")
    train = actions.add_parser("train", help="decisions to a classifier for other images", allow_abbrev=False)
    _add_clusters(train)
    _add_decisions(train)
    train.add_argument("--features", metavar="DIR", help="(default: features/ beside the clusters)")
    train.add_argument("--output", required=True, metavar="FILE.json", help="the classifier, for --head of the step")
    train.add_argument("--seed", type=int, default=0, help="draws which clusters are held out together (0)")


def run(args: argparse.Namespace) -> int:
    """Does what was asked for."""
    actions = {"cluster": _cluster, "review": _review, "apply": _apply, "train": _train}
    try:
        return actions[args.filter_command](args)
    except OSError as error:
        raise DataError(f"Cannot write {args.output}: {error.strerror or error}.") from None


def _add_clusters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clusters", required=True, metavar="FILE", help="clusters.parquet of `cluster`")


def _add_decisions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--decisions", required=True, metavar="FILE", help="decisions.yaml of the page: NUMBER: keep, or drop, a line"
    )


def _cluster(args: argparse.Namespace) -> int:
    from phenolip.inference.image_tower import load_image_tower
    from phenolip.phenokg.figures.cluster_features import ClusterConfig
    from phenolip.phenokg.figures.cluster_images import CLUSTERS, cluster_images

    if not Path(args.images).is_dir():
        raise DataError(f"`--images` must be a folder, got {args.images}.")
    config = ClusterConfig(num_first=args.num_first, num_second=args.num_second, seed=args.seed)
    files = list(find_images(args.images))
    tower = load_image_tower(args.tower, image_size=args.image_size)
    bar = tqdm(files, desc="features", unit="image", disable=None)
    num_clusters, drops = cluster_images(bar, tower, args.output, config)
    _say(f"{len(files):,} images, {num_clusters} clusters", drops, Path(args.output, CLUSTERS))
    return 0


def _review(args: argparse.Namespace) -> int:
    from phenolip.phenokg.figures.cluster_files import read_clusters
    from phenolip.phenokg.figures.filter_review import ReviewConfig, write_review

    config = ReviewConfig(per_cluster=args.per_cluster, seed=args.seed, max_side=args.max_side)
    clustered = read_clusters(args.clusters)
    num_missing = write_review(args.output, clustered, config)
    missing = f", {num_missing} images cannot be read any more" if num_missing else ""
    sys.stderr.write(f"{clustered.num_clusters} clusters{missing}: open {args.output}\n")
    return 0


def _apply(args: argparse.Namespace) -> int:
    from phenolip.phenokg.figures.cluster_decisions import read_decisions
    from phenolip.phenokg.figures.cluster_files import read_clusters
    from phenolip.phenokg.filter_figures import apply_decisions

    output, drops, kept = Path(args.output), [], Counter()
    decided = apply_decisions(read_clusters(args.clusters), read_decisions(args.decisions))
    with whole_file(output, "w") as made, whole_file(output.with_suffix(".drops.jsonl"), "w") as left:
        for outcome in decided:
            if isinstance(outcome, Drop):
                drops.append(outcome)
                left.write(to_line(outcome))
            else:
                made.write(to_line(outcome))
                kept[outcome.is_medical] += 1
    _say(f"{kept[True]:,} images kept, {kept[False]:,} not medical", drops, output)
    return 0


def _train(args: argparse.Namespace) -> int:
    from phenolip.phenokg.figures.cluster_decisions import read_decisions
    from phenolip.phenokg.figures.cluster_files import read_clusters
    from phenolip.phenokg.figures.cluster_images import FEATURES, train_head
    from phenolip.phenokg.figures.medical_head import save_head

    features = args.features or Path(args.clusters).parent / FEATURES
    head, quality = train_head(read_clusters(args.clusters), read_decisions(args.decisions), features, seed=args.seed)
    save_head(head, args.output)
    sys.stdout.write(
        "On clusters that it did not see, 95 % intervals over images:\n"
        f"  precision    {quality.precision}\n  recall       {quality.recall}\n  specificity  {quality.specificity}\n"
    )
    sys.stderr.write(f"Trained on {head.provenance['trained_on']}: {args.output}\n")
    return 0


def _say(what: str, drops: list[Drop], path: Path) -> None:
    reasons = "".join(
        f", {number:,} {reason}" for reason, number in Counter(drop.reason for drop in drops).most_common()
    )
    sys.stderr.write(f"{what}{reasons}: {path}\n")
