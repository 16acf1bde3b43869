"""`phenolip merge`: an adapter and the model it was trained on, as one plain model folder."""

import argparse
import sys
from pathlib import Path

from phenolip.exceptions import ConfigurationError

EXAMPLES = """examples:
  phenolip merge runs/mini/stage2 runs/adapted/adapter --output runs/merged
      the folder that train/stage2.py wrote as runs/adapted already, from the two parts that are kept or sent

docs/adapt.md says how adapters are trained. For research, not for diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the two parts and the folder."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("model", metavar="DIR|ID", help="the model that the adapter was trained on")
    parser.add_argument("adapter", metavar="DIR", help="folder of the adapter: `adapter` in that of the run")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the merged model")


def run(args: argparse.Namespace) -> int:
    """Merges, saves and says where."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.train.adapters import merge_adapter
    from phenolip.train.saved_model import load_saved, saved_image_size

    disable_progress_bar()
    output = Path(args.output)
    if output.exists() and any(output.iterdir()):
        raise ConfigurationError(f"`--output` must be a new or empty folder, got {output}.")
    model, processor = load_saved(args.model, image_size=saved_image_size(args.model))
    merge_adapter(model, args.adapter).save_pretrained(output)
    processor.save_pretrained(output)
    sys.stdout.write(f"Merged: {output}. Next: phenolip predict IMAGE --model {output}\n")
    return 0
