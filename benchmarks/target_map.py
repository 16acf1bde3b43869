"""What targets ask of images: a 2-D map and silhouettes, by category and by severity, of identity, multi-hot and SSM.

Each image with findings is described by its row of the target matrix over all texts of the sample: images with like
rows are drawn together in training. Reports need no images for that: --findings takes what `phenolip extract` writes.
With --data and --models, the embeddings of images by trained models are measured in the same way.

  python benchmarks/target_map.py --findings findings.jsonl --ssm_model runs/mini/stage1 --output DIR
  python benchmarks/target_map.py --data DIR --ssm_model runs/mini/stage1 --output DIR --models ssm=runs/a

Categories with fewer than 5 images, and severities with fewer than 3 in their category, are left out. A silhouette is
from -1 to 1, 0 where classes are not told apart; that of severities is taken within each category, then averaged over
images. It writes OUTPUT/target_map.json (dated, with hardware and versions) and OUTPUT/target_map.png.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_samples
from sklearn.metrics.pairwise import cosine_distances

from phenolip.datasets_scripts.load import load_pairs
from phenolip.inference.encoder import Encoder
from phenolip.ontology.build_knowledge import build_knowledge_book
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import content_hash, git_commit, hardware, package_versions, write_json
from phenolip.train.findings import Finding, category_key, number_findings
from phenolip.train.targets.categories import relate_categories
from phenolip.train.targets.ssm import SemanticSimilarity, mean_cosine
from phenolip.train.targets.text_targets import TextTargets
from phenolip.train.teacher import encode_texts, load_text_model
from phenolip.train.text_slots import TextSlots

LEAST_OF_CATEGORY, LEAST_OF_SEVERITY = 5, 3
MAX_TOKENS = 128


def parse() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help="Pairs with findings.")
    source.add_argument("--findings", help="Output of `phenolip extract`, one document a line.")
    parser.add_argument("--ssm_model", required=True, help="Stage 1 folder, or any text model.")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=[], metavar="NAME=DIR", help="Trained models to measure too.")
    parser.add_argument("--calibration", choices=["none", "clamp", "affine"], default="affine")
    parser.add_argument("--num_rows", type=int, default=600, help="Most images, the first that have a finding.")
    parser.add_argument("--seed", type=int, default=0, help="Of the map.")
    return parser.parse_args()


def classes_of(rows: Sequence[Sequence[Finding]]) -> tuple[np.ndarray, np.ndarray]:
    """Category and severity of the first present finding of each row; empty where it has none."""
    first = [
        next((one for one in row if (one.get("assertion") or "present") == "present" and one["category"]), None)
        for row in rows
    ]
    categories = np.array([category_key(one) if one else "" for one in first], dtype=str)
    return categories, np.array([(one.get("severity") or "") if one else "" for one in first], dtype=str)


def read_findings(path: str) -> list[list[Finding]]:
    """Findings of each document of a file."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)["findings"] for line in lines if line.strip()]


def frequent(labels: np.ndarray, least: int) -> np.ndarray:
    """Where a label is not empty and occurs at least so often. Shapes: (n,); returns (n,) bool."""
    counts = Counter(labels.tolist())
    return np.array([bool(label) and counts[label] >= least for label in labels.tolist()])


def silhouette(distances: np.ndarray, labels: np.ndarray, least: int) -> tuple[np.ndarray, int]:
    """Silhouette of each item of a frequent class and the number of classes; none of either below two classes."""
    kept = frequent(labels, least)
    num_classes = len(set(labels[kept]))
    if num_classes < 2:
        return np.zeros(0), 0
    return silhouette_samples(distances[np.ix_(kept, kept)], labels[kept], metric="precomputed"), num_classes


def measure(profiles: np.ndarray, categories: np.ndarray, severities: np.ndarray) -> dict[str, float | int | None]:
    """Silhouettes by category, and by severity within categories, with what they were taken over."""
    distances = cosine_distances(profiles)
    np.fill_diagonal(distances, 0.0)
    by_category, num_categories = silhouette(distances, categories, LEAST_OF_CATEGORY)
    within = []
    for category in sorted(set(categories) - {""}):
        members = np.flatnonzero(categories == category)
        within.append(silhouette(distances[np.ix_(members, members)], severities[members], LEAST_OF_SEVERITY)[0])
    by_severity = np.concatenate([np.zeros(0), *within])
    return {
        "silhouette_category": float(by_category.mean()) if len(by_category) else None,
        "num_categories": num_categories,
        "num_images_category": len(by_category),
        "silhouette_severity": float(by_severity.mean()) if len(by_severity) else None,
        "num_images_severity": len(by_severity),
    }


def target_profiles(
    rows: Sequence[Sequence[Finding]], ontology: PhenotypeOntology, ssm_model: str, calibration: str
) -> dict[str, np.ndarray]:
    """Rows of the target matrix of all images over all their texts, by kind of target."""
    book = build_knowledge_book(ontology, sources=())
    findings = number_findings(
        rows,
        lambda one: book.prompt(
            one["category"],
            hpo_id=one.get("hpo_id"),
            severity=one.get("severity"),
            location=one.get("location"),
        ),
        max_findings=8,
    )
    model, tokenize = load_text_model(ssm_model, MAX_TOKENS)
    embeds = encode_texts(model, tokenize, findings.texts, field="text_embeds")
    relations = relate_categories(findings.categories, ontology, "multi_hot")
    batch = TextSlots(findings, {"target_embeds": embeds})(list(range(len(rows))))
    batch["group_ids"] = torch.arange(len(rows))[:, None]
    similarity = SemanticSimilarity("none", calibration, floor=mean_cosine(embeds) if calibration == "affine" else 0.0)
    return {
        kind: TextTargets(kind, relations, similarity, mask_duplicates=False)(batch)[0].numpy()
        for kind in ("identity", "multi_hot", "ssm")
    }


def draw(maps: dict[str, np.ndarray], categories: np.ndarray, measured: dict[str, dict], path: Path) -> None:
    """One panel a description; the ten commonest categories in colour."""
    common = [label for label, _ in Counter(categories[categories != ""].tolist()).most_common(10)]
    figure, panels = plt.subplots(1, len(maps), figsize=(4.2 * len(maps), 4.4), squeeze=False)
    for panel, (name, points) in zip(panels[0], maps.items(), strict=True):
        panel.scatter(*points.T, s=5, color="0.85")
        for number, label in enumerate(common):
            panel.scatter(*points[categories == label].T, s=9, color=plt.cm.tab10(number), label=label)
        values = [measured[name][f"silhouette_{by}"] for by in ("category", "severity")]
        shown = ", ".join("-" if value is None else f"{value:.2f}" for value in values)
        panel.set_title(f"{name}\nsilhouette by category, severity: {shown}", fontsize=9)
        panel.set_xticks([])
        panel.set_yticks([])
    panels[0][-1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=130, bbox_inches="tight")
    plt.close(figure)


def to_map(profiles: np.ndarray, seed: int) -> np.ndarray:
    """(n, 2) by t-SNE of cosine distances."""
    perplexity = min(30.0, (len(profiles) - 1) / 3)
    return TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed).fit_transform(profiles)


def described(names: Sequence[str]) -> dict[str, str]:
    """Name -> folder of the models that were given."""
    pairs = [name.partition("=") for name in names]
    if bad := [name for name, is_given, folder in pairs if not (is_given and folder)]:
        raise SystemExit(f"error: `--models` must be NAME=DIR, got {bad[0]}.")
    return {name: folder for name, _, folder in pairs}


def main() -> None:
    """Measures and draws."""
    arguments = parse()
    models = described(arguments.models)
    ontology = load_ontology()
    pairs = load_pairs(arguments.data, ontology=ontology) if arguments.data else None
    if models and pairs is None:
        raise SystemExit("error: `--models` needs `--data`, whose images they see.")
    rows = read_findings(arguments.findings) if pairs is None else list(pairs["findings"])
    categories, severities = classes_of(rows)
    kept = np.flatnonzero(categories != "")[: arguments.num_rows]
    if len(kept) < 4:
        raise SystemExit(f"error: 4 or more rows must have a present finding, got {len(kept)}.")
    rows, categories, severities = [rows[row] for row in kept], categories[kept], severities[kept]
    profiles = target_profiles(rows, ontology, arguments.ssm_model, arguments.calibration)
    for name, folder in models.items():
        images = list(pairs.select(kept)["image"])
        profiles[f"model {name}"] = Encoder.from_pretrained(folder).encode_images(images)
    measured = {name: measure(profile, categories, severities) for name, profile in profiles.items()}
    arguments.output.mkdir(parents=True, exist_ok=True)
    maps = {name: to_map(profile, arguments.seed) for name, profile in profiles.items()}
    labels = np.array([ontology[key].name if key in ontology else key for key in categories.tolist()])
    draw(maps, labels, measured, arguments.output / "target_map.png")
    record = {
        "date": date.today().isoformat(),
        "arguments": {name: str(value) for name, value in vars(arguments).items()},
        "num_images": len(rows),
        "data_revision": content_hash([json.dumps(row, sort_keys=True) for row in rows]),
        "measured": measured,
        "git_commit": git_commit(),
        "hardware": hardware(),
        "packages": package_versions(),
    }
    write_json(arguments.output / "target_map.json", record)


if __name__ == "__main__":
    main()
