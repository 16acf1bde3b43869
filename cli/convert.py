"""`phenolip convert`: open_clip checkpoints to PhenoLIP folders and back, with a check written into the folder."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phenolip.hub.convert import Converted

EXAMPLES = """examples:
  phenolip convert open_clip runs/biomedclip --output runs/biomedclip_phenolip
      a folder with open_clip_config.json, open_clip_model.safetensors and the tokenizer's files; the result loads by
      AutoModel and AutoProcessor with trust_remote_code, offline and without open_clip
  phenolip convert open_clip epoch_15.pt --allow_pickle --config open_clip_config.json --tokenizer DIR --output OUT
      a training checkpoint: its tensors are read, nothing in it is run
  phenolip convert phenolip runs/biomedclip_phenolip --output runs/biomedclip_again
      back again, also after fine-tuning
  phenolip convert check runs/biomedclip_phenolip
      does the folder still give the logits that were written into it?

A tensor that is missing or left over is an error that names it. docs/convert.md says what converts."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the three directions."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    kinds = parser.add_subparsers(dest="kind", metavar="open_clip|phenolip|check", required=True)
    ours = kinds.add_parser("open_clip", help="an open_clip checkpoint to a PhenoLIP folder", allow_abbrev=False)
    ours.add_argument("checkpoint", metavar="CHECKPOINT", help="folder, Hub id or file of weights")
    _add_output(ours)
    ours.add_argument(
        "--config", metavar="FILE", help="open_clip_config.json, where it does not lie beside the weights"
    )
    ours.add_argument(
        "--text_tower", metavar="DIR|ID", help="config of a BERT tower (default: the one the config names)"
    )
    ours.add_argument("--tokenizer", metavar="DIR|ID", help="tokenizer (default: beside the weights, else as named)")
    ours.add_argument("--bpe", metavar="FILE", help="open_clip's bpe_simple_vocab_16e6.txt.gz, for its own tokenizer")
    ours.add_argument(
        "--drop",
        nargs="+",
        default=[],
        metavar="PREFIX",
        help="leave out tensors whose names begin so, such as a pooler",
    )
    ours.add_argument("--template", default="{}", help="sentence around a phenotype's name (default: the name alone)")
    ours.add_argument(
        "--allow_pickle", action="store_true", help="read a pickled state dict, by torch's loader that runs no code"
    )
    theirs = kinds.add_parser("phenolip", help="a PhenoLIP folder to an open_clip checkpoint", allow_abbrev=False)
    theirs.add_argument("model", metavar="DIR|ID", help="PhenoLIP folder or Hub id")
    _add_output(theirs)
    theirs.add_argument(
        "--text_tower", metavar="ID", help="Hub id at which open_clip finds the config of a BERT tower"
    )
    check = kinds.add_parser("check", help="compare a converted folder with its record", allow_abbrev=False)
    check.add_argument("folder", metavar="DIR", help="folder with conversion.json")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="new or empty folder")


def run(args: argparse.Namespace) -> int:
    """Converts or checks, and says what came of it."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.hub.convert import from_open_clip, to_open_clip
    from phenolip.hub.convert_check import verify

    disable_progress_bar()  # of transformers, for weights that load in a moment
    if args.kind == "check":
        sys.stdout.write(f"{args.folder}: as recorded, greatest difference of a cosine {verify(args.folder):.1e}.\n")
        return 0
    if args.kind == "phenolip":
        done = to_open_clip(args.model, args.output, text_tower=args.text_tower)
    else:
        done = from_open_clip(
            args.checkpoint,
            args.output,
            config=args.config,
            text_tower=args.text_tower,
            tokenizer=args.tokenizer,
            bpe=args.bpe,
            drop=args.drop,
            prompt_template=args.template,
            allow_pickle=args.allow_pickle,
        )
    sys.stdout.write(_summary(done))
    return 0


def _summary(done: "Converted") -> str:
    if done.difference is None:
        compared = f"not compared with open_clip: {done.reason.rstrip('.')}"
    else:
        compared = f"greatest difference of a cosine to open_clip's {done.difference:.1e}"
    return f"{done.output}: {done.num_tensors} tensors, none left over; {compared}. Logits in conversion.json.\n"
