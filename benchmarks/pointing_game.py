"""How often the strongest place of an explanation lies on the sign that was drawn: the pointing game on phantoms.

    python benchmarks/pointing_game.py --model runs/quickstart/stage2 --output runs/pointing_game.json

Zhang et al. 2018 (International Journal of Computer Vision 126): a hit is a strongest pixel inside a box of the sign.
Deviation: no tolerance of 15 pixels. Chance is the share of the image that the boxes cover. Signs that cover more than
half of the image say little and are left out of the rows "focal". The gradient map of shuffled weights (Adebayo et al.
2018, arXiv 1810.03292) plays as well, and its rank correlation with the model's is given. The images are of another
seed than any that `phenolip prepare phantoms` draws; intervals are bootstraps over images, seed 0.
"""

import argparse
import sys
from collections import defaultdict

import numpy as np
from tqdm import tqdm

from phenolip.datasets_scripts.phantoms import SIGNS, generate
from phenolip.inference.encoder import Encoder
from phenolip.inference.explain import METHODS, heat_map, model_pixels, shuffled_encoder, spearman
from phenolip.inference.model_knowledge import candidate_texts
from phenolip.provenance import git_commit, hardware, package_versions, write_json

SEED, SIZE_PX, MAX_FOCAL = 424_242, 224, 0.5
NUM_RESAMPLES = 2000


def play(encoder: Encoder, num_images: int, *, against_others: bool, stride_px: int | None) -> dict[str, list]:
    """Hits, chance and rank correlations of each image's first sign."""
    names = {hpo_id: sign.name for hpo_id, sign in SIGNS.items()}
    embeds = dict(zip(names, encoder.encode_texts(candidate_texts(encoder, names)), strict=True))
    mean = np.mean(list(embeds.values()), axis=0) if against_others else 0.0
    shuffled, found = shuffled_encoder(encoder), defaultdict(list)
    for phantom in tqdm(
        generate(num_images, seed=SEED, size=SIZE_PX), total=num_images, desc="Pointing", unit="image"
    ):
        hpo_id = phantom.hpo_ids[0]
        inside = mask_of(phantom.regions[hpo_id], SIZE_PX)
        pixels, direction = model_pixels(encoder, phantom.image), embeds[hpo_id] - mean
        image_embed = encoder.encode_images([phantom.image])[0]
        found["is_best"].append(max(embeds, key=lambda other: embeds[other] @ image_embed) in phantom.hpo_ids)
        found["chance"].append(inside.mean())
        for method in METHODS:
            heat = heat_map(encoder, pixels, direction, method, stride_px=stride_px)
            found[method].append(hit(heat, inside))
            if method == "gradient":  # occlusion would cost as much again
                random_heat = heat_map(shuffled, pixels, direction, method)
                found["gradient_shuffled"].append(hit(random_heat, inside))
                found["gradient_spearman"].append(spearman(heat.ravel(), random_heat.ravel()))
    return found


def mask_of(boxes: list, size: int) -> np.ndarray:
    """(size, size) bool: the pixels whose centre lies in a box."""
    centres = np.arange(size) + 0.5
    inside = np.zeros((size, size), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        inside |= ((centres >= y0) & (centres < y1))[:, None] & ((centres >= x0) & (centres < x1))
    return inside


def hit(heat: np.ndarray, inside: np.ndarray) -> float:
    """Whether the strongest pixel is inside, 0 to 1: the share inside of all pixels that are strongest."""
    strongest = np.argwhere(heat == heat.max())
    places = ((strongest + 0.5) * np.array(inside.shape) / np.array(heat.shape)).astype(int)
    return float(inside[places[:, 0], places[:, 1]].mean())


def summary(found: dict[str, list], rows: np.ndarray) -> dict[str, dict]:
    """Mean and bootstrap interval of every quantity over some images."""
    draws = np.random.default_rng(0).integers(0, rows.sum(), (NUM_RESAMPLES, int(rows.sum())))
    table = {}
    for name, values in found.items():
        chosen = np.array(values, dtype=float)[rows]
        low, high = np.quantile(chosen[draws].mean(axis=1), (0.025, 0.975))
        table[name] = {"value": float(chosen.mean()), "ci95": [float(low), float(high)]}
    return {"n": int(rows.sum()), **table}


def main() -> None:
    """Plays and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--num_images", type=int, default=288, help="default: 288, each of 72 signs four times")
    parser.add_argument(
        "--against_others", action="store_true", help="explain the term less the mean of all 72, not the term alone"
    )
    parser.add_argument("--stride_px", type=int, help="of occlusion; by default half a square, an eighth of the image")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    found = play(
        Encoder.from_pretrained(args.model),
        args.num_images,
        against_others=args.against_others,
        stride_px=args.stride_px,
    )
    focal = np.array(found["chance"]) <= MAX_FOCAL
    result = {
        "model": args.model,
        "against_others": args.against_others,
        "stride_px": args.stride_px,
        "all": summary(found, np.ones_like(focal)),
        "focal": summary(found, focal),
        "git_commit": git_commit(),
        "packages": package_versions(),
        "hardware": hardware(),
    }
    write_json(args.output, result)
    for rows in ("all", "focal"):
        sys.stdout.write(f"{rows}, {result[rows]['n']} images\n")
        for name, value in result[rows].items():
            if name != "n":
                low, high = value["ci95"]
                sys.stdout.write(f"  {name:22s} {value['value']:6.3f}  [{low:.3f}, {high:.3f}]\n")


if __name__ == "__main__":
    main()
