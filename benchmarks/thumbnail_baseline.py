"""How far colours and places alone go: logistic regression on 16 x 16 RGB thumbnails.

A model that sees only thumbnails cannot count fingers. Where it scores well, a sign is given away by a colour or a
place. A prediction counts as right when it is any of the image's terms; training rows are repeated once a term.

python benchmarks/thumbnail_baseline.py --train DIR --test DIR --output FILE.json

DIR holds metadata.jsonl with file_name and hpo_ids, as written by `phenolip.datasets_scripts.phantoms`.
"""

import argparse
import json
import os
import platform
import time
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

THUMBNAIL_PX = 16
C_GRID = (1e-4, 1e-3, 1e-2, 1e-1)


def load_thumbnails(folder: Path) -> tuple[np.ndarray, list[list[str]]]:
    """Thumbnails (n, 768) in 0..1 and the HPO ids of every image."""
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines() if line]
    pixels = []
    for row in rows:
        with Image.open(folder / row["file_name"]) as image:
            thumbnail = image.convert("RGB").resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
        pixels.append(np.asarray(thumbnail, dtype=np.float32).ravel() / 255)
    return np.stack(pixels), [row["hpo_ids"] for row in rows]


def fit(pixels: np.ndarray, labels: list[list[str]], folds: int) -> tuple[object, float]:
    """A classifier over terms and the regularisation that cross-validation on the training images chose."""
    index = np.array([row for row, ids in enumerate(labels) for _ in ids])
    terms = np.array([hpo_id for ids in labels for hpo_id in ids])

    def build(strength: float):
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300, tol=1e-3))

    scores = {
        strength: cross_val_score(build(strength), pixels[index], terms, groups=index, cv=GroupKFold(folds)).mean()
        for strength in C_GRID
    }
    best = max(scores, key=scores.get)
    return build(best).fit(pixels[index], terms), best


def run(train: Path, test: Path, folds: int = 3) -> dict:
    """Fit on `train`, score on `test`."""
    start = time.perf_counter()
    train_pixels, train_labels = load_thumbnails(train)
    test_pixels, test_labels = load_thumbnails(test)
    model, strength = fit(train_pixels, train_labels, folds)
    predicted = model.predict(test_pixels)
    right = [term in ids for term, ids in zip(predicted, test_labels, strict=True)]
    return {
        "benchmark": "thumbnail_baseline",
        "top1_in_label_set": float(np.mean(right)),
        "num_train": len(train_labels),
        "num_test": len(test_labels),
        "num_terms": len(model.classes_),
        "thumbnail_px": THUMBNAIL_PX,
        "C": strength,
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": date.today().isoformat(),
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    """Parse the command line and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="folder of training images")
    parser.add_argument("--test", type=Path, required=True, help="folder of test images, drawn from another seed")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    result = run(arguments.train, arguments.test)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
