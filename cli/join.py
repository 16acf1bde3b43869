"""`phenolip join`: models trained alike from several seeds, as one model folder."""

import argparse
import sys

EXAMPLES = """examples:
  phenolip join runs/mini/members/0 runs/mini/members/1 --output runs/joined
      one model whose scores are the means of both; images take twice the time, texts the same

Members share the settings of their towers and the weights of the text tower (`freeze_text: true`), and differ in
`--seed`. For research, not for diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the members and the folder."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("members", nargs="+", metavar="DIR", help="two models or more, as train/stage2.py saves them")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the joined model")
    parser.add_argument("--overwrite", action="store_true", help="replace the model that the folder holds")


def run(args: argparse.Namespace) -> int:
    """Joins, saves and says where."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.hub.join import join_folders

    disable_progress_bar()
    join_folders(args.members, args.output, overwrite=args.overwrite)
    sys.stdout.write(
        f"Joined {len(args.members)} models: {args.output}. Next: phenolip predict IMAGE --model {args.output}\n"
    )
    return 0
