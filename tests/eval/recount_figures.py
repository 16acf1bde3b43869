"""Figures of a run, counted again from predictions.parquet by numpy and scikit-learn, without the package.

python tests/eval/recount_figures.py RUN [RUN ...]

A RUN is an output folder of `phenolip eval` for a task over classes, a linear probe, a segmentation or faces, or one
of benchmarks/supervised_baselines.py. Prints every figure beside the stated one and ends with 1 where two differ.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)

TOLERANCE = 1e-9


def main():
    """Compares every run that is named."""
    num_different = 0
    for folder in sys.argv[1:]:
        rows = compare(folder)
        for name, ours, stated in rows:
            num_different += not same(ours, stated)
            print(f"{name:64s} {ours:.10f} {stated:.10f} {'' if same(ours, stated) else 'DIFFERS'}")
        print(f"{folder}: {len(rows)} figures counted again\n")
    sys.exit(1 if num_different else 0)


def same(ours, stated):
    """Whether two figures are equal but for rounding, or both missing."""
    return abs(ours - stated) <= TOLERANCE or (math.isnan(ours) and math.isnan(stated))


def compare(folder):
    """(name, counted again, stated) of every figure that this script knows how to count."""
    folder = Path(folder)
    table = pq.read_table(folder / "predictions.parquet")
    columns, rows = json.loads(table.schema.metadata[b"columns"]), table.to_pandas()
    if (folder / "supervised_baselines.json").exists():
        stated = json.loads((folder / "supervised_baselines.json").read_text())["baselines"]
        return [
            (f"{name} {metric}", value, stated[name]["metrics"][metric]["value"])
            for name, part in rows.groupby("draw", observed=True)
            for metric, value in probe(part).items()
        ]
    results = json.loads((folder / "results.json").read_text())
    if columns[0] == "num_mask":
        counted = masks(rows)
    elif "faces_hit_at_10" in results["metrics"]:
        counted = faces(rows, results)
    elif any(name.startswith("probe_") for name in results["metrics"]):
        counted = probes(rows)
    else:
        counted = zero_shot(rows, results)
        return figures(counted, results) + classes_one_by_one(rows, columns, results)
    return figures(counted, results)


def figures(counted, results):
    """The counted beside the stated; a value that is stated as missing must be missing here."""
    stated = {name: metric["value"] for name, metric in results["metrics"].items()}
    return [(name, value, math.nan if stated[name] is None else stated[name]) for name, value in counted.items()]


def arrays(rows, part):
    """Truth and scores (N, C) of one part."""
    rows = rows[rows["part"] == part]
    if not len(rows):
        return None, None
    return np.stack(rows["truth"].to_numpy()), np.stack(rows["scores"].to_numpy())


def usable(truth, column):
    """Rows whose label is known, where both kinds occur; else None."""
    known = truth[:, column] >= 0
    return known if len(set(truth[known, column])) == 2 else None


def best_threshold(truth, scores):
    """The score of the highest F1; of equal ones the more accurate, then the higher."""
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    f1 = np.where(precision + recall > 0, 2 * precision * recall / np.maximum(precision + recall, 1e-300), 0)[:-1]
    close = thresholds[f1 >= f1.max() - 1e-12]
    return max(close, key=lambda threshold: (((scores >= threshold) == truth).sum(), threshold))


def zero_shot(rows, results):
    """The metrics of zero-shot classification by class texts."""
    truth, scores = arrays(rows, "test")
    held_truth, held_scores = arrays(rows, "validation")
    found = {}
    known = {c: usable(truth, c) for c in range(truth.shape[1])}
    of_classes = [c for c in known if known[c] is not None]
    mean = lambda values: float(np.mean(values)) if values else math.nan  # noqa: E731
    found["macro_auroc"] = mean([roc_auc_score(truth[known[c], c], scores[known[c], c]) for c in of_classes])
    found["macro_auprc"] = mean([average_precision_score(truth[known[c], c], scores[known[c], c]) for c in of_classes])
    for k in (1, 5, 10):
        if f"zero_shot_classes_macro_precision_at_{k}" in results["metrics"]:
            found[f"macro_precision_at_{k}"] = mean(
                [precision_at(truth[known[c], c], scores[known[c], c], k) for c in of_classes]
            )
    decided = {"oracle": decisions(truth, scores, truth, scores)}
    if held_truth is not None:
        decided["val_fitted"] = decisions(truth, scores, held_truth, held_scores)
    for how, pairs in decided.items():
        found[f"macro_f1_{how}"] = mean([f1_score(right, said, zero_division=0) for right, said in pairs.values()])
        found[f"macro_accuracy_at_f1_{how}"] = mean([accuracy_score(right, said) for right, said in pairs.values()])
    if (truth.sum(axis=1) == 1).all() and "zero_shot_classes_top1" in results["metrics"]:
        found |= answers(truth, scores, held_truth, held_scores, results)
    return {f"zero_shot_classes_{name}": value for name, value in found.items()}


def decisions(truth, scores, fit_truth, fit_scores):
    """Column -> labels and decisions at the threshold of maximal F1 of the images that are fitted on."""
    pairs = {}
    for column in range(truth.shape[1]):
        rows, fit_rows = usable(truth, column), usable(fit_truth, column)
        if rows is not None and fit_rows is not None:
            threshold = best_threshold(fit_truth[fit_rows, column], fit_scores[fit_rows, column])
            pairs[column] = truth[rows, column], (scores[rows, column] >= threshold).astype(int)
    return pairs


def answers(truth, scores, held_truth, held_scores, results):
    """What is counted of one answer an image: accuracy, recall, F1, calibration, "none of these"."""
    codes, said = truth.argmax(axis=1), scores.argmax(axis=1)
    present = sorted(set(codes))
    found = {
        "top1": accuracy_score(codes, said),
        "macro_recall": recall_score(codes, said, labels=present, average="macro", zero_division=0),
        "macro_f1": f1_score(codes, said, labels=present, average="macro", zero_division=0),
    }
    calibration = results["calibration"]
    temperatures = {"": 1.0} | ({"_at_val_temperature": calibration["temperature"]} if held_truth is not None else {})
    for suffix, temperature in temperatures.items():
        logits = calibration["logit_scale"] * scores / temperature
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        found[f"brier{suffix}"] = float(((chances - truth) ** 2).sum(axis=1).mean())
        sure, right = chances.max(axis=1), said == codes
        bins = np.ceil(sure * 15).astype(int)  # 15 of equal width, closed above
        gaps = [abs(sure[bins == one].sum() - right[bins == one].sum()) for one in set(bins)]
        found[f"ece_equal_width{suffix}"] = float(np.sum(gaps) / len(sure))
    if "none_of_these" in results:
        normal = [entry["name"] for entry in results["classes"]].index(
            results["settings"]["zero_shot_classes"]["normal"]
        )
        rest = [column for column in range(truth.shape[1]) if column != normal]
        reached = scores[:, rest].max(axis=1) >= results["none_of_these"]["threshold"]
        found["none_of_these_false_positive_rate"] = float(reached[truth[:, normal] == 1].mean())
        found["none_of_these_sensitivity"] = float(reached[truth[:, normal] != 1].mean())
        share = (held_scores[:, rest].max(axis=1) >= results["none_of_these"]["threshold"])[held_truth[:, normal] == 1]
        assert share.mean() <= results["none_of_these"]["max_false_positive_rate_on_validation"] + 1e-12
    return found


def classes_one_by_one(rows, columns, results):
    """AUROC, AUPRC and F1 of every class."""
    truth, scores = arrays(rows, "test")
    found = []
    for column, (name, entry) in enumerate(zip(columns, results["classes"], strict=True)):
        assert name == entry["name"] and (truth[:, column] == 1).sum() == entry["num_positive"]
        known = usable(truth, column)
        if known is None:
            continue
        right, score = truth[known, column], scores[known, column]
        found.append((f"{name}: auroc", roc_auc_score(right, score), entry["auroc"]))
        found.append((f"{name}: auprc", average_precision_score(right, score), entry["auprc"]))
        said = score >= best_threshold(right, score)
        found.append((f"{name}: f1_oracle", f1_score(right, said), entry["f1_oracle"]))
    return found


def precision_at(truth, scores, k):
    """Share of positives among the k highest, in expectation over the order of the equal ones at the edge."""
    k = min(k, len(scores))
    edge = np.sort(scores)[-k]
    above, tied = scores > edge, scores == edge
    return float((truth[above].sum() + truth[tied].mean() * (k - above.sum())) / k)


def probe(rows):
    """One draw of a probe, or a trained network."""
    truth, chances = arrays(rows, "test")
    known = [usable(truth, column) for column in range(truth.shape[1])]
    areas = [roc_auc_score(truth[k, c], chances[k, c]) for c, k in enumerate(known) if k is not None]
    found = {"macro_auroc": float(np.mean(areas))}
    if not (truth.sum(axis=1) == 1).all():
        return found | {"accuracy": float(((chances >= 0.5) == (truth == 1)).all(axis=1).mean())}
    codes, said = truth.argmax(axis=1), chances.argmax(axis=1)
    found["accuracy"] = accuracy_score(codes, said)
    found["macro_recall"] = recall_score(codes, said, labels=sorted(set(codes)), average="macro", zero_division=0)
    return found | {"brier": float(((chances - truth) ** 2).sum(axis=1).mean())}


def probes(rows):
    """Means over the draws of each share of the training images."""
    by_share = {}
    for draw, part in rows.groupby("draw", observed=True):
        by_share.setdefault(draw.split()[0], []).append(probe(part))
    return {
        f"probe_{name}_at_{share}": float(np.mean([draw[name] for draw in draws]))
        for share, draws in by_share.items()
        for name in draws[0]
    }


def masks(rows):
    """Dice of every encoder, mode and share: means over images and draws."""
    total = rows["num_mask"] + rows["num_found"]
    rows = rows.assign(dice=np.where(total > 0, 2 * rows["num_shared"] / total.clip(lower=1), 1.0))
    found = {}
    for (draw, kind), part in rows.assign(start=rows["draw"].astype(str).str.split().str[0]).groupby(
        ["start", "threshold_from"], observed=True
    ):
        start, share = draw.rsplit("_", 2)[0], "_".join(draw.rsplit("_", 2)[1:])
        if kind == "half":
            found[f"segmentation_{start}_dice_all_at_half_at_{share}"] = part["dice"].mean()
            continue
        found[f"segmentation_{start}_dice_all_at_{share}"] = part["dice"].mean()
        found[f"segmentation_{start}_dice_positive_at_{share}"] = part[part["num_mask"] > 0]["dice"].mean()
    return found


def faces(rows, results):
    """Hits, and precision, recall and F1 of each image, averaged."""
    truth, scores = arrays(rows, "test")
    truth, num_candidates = truth == 1, truth.shape[1]
    found = {}
    for name in results["metrics"]:
        if name.startswith("faces_hit_at_"):
            k = min(int(name.rsplit("_", 1)[1]), num_candidates)
            found[name] = float(np.mean([1 - miss(t, s, k) for t, s in zip(truth, scores, strict=True)]))
    k = int(next(name for name in results["metrics"] if name.startswith("faces_sample_f1_at_")).rsplit("_", 1)[1])
    right = [k_right(t, s, min(k, num_candidates)) for t, s in zip(truth, scores, strict=True)]
    answered, labels = min(k, num_candidates), truth.sum(axis=1)
    found[f"faces_sample_precision_at_{k}"] = float(np.mean(np.divide(right, answered)))
    found[f"faces_sample_recall_at_{k}"] = float(np.mean(np.divide(right, labels)))
    found[f"faces_sample_f1_at_{k}"] = float(np.mean(np.multiply(right, 2) / (answered + labels)))
    for how, threshold in results["thresholds"].items():
        for kind, metric in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
            value = metric(truth, scores >= threshold, average="samples", zero_division=0)
            found[f"faces_sample_{kind}_{how}"] = float(value)
    return found


def k_right(truth, scores, k):
    """Expected labels among the k best."""
    edge = np.sort(scores)[-k]
    above, tied = scores > edge, scores == edge
    return truth[above].sum() + truth[tied].mean() * (k - above.sum())


def miss(truth, scores, k):
    """Chance that no label is among the k best."""
    edge = np.sort(scores)[-k]
    above, tied = scores > edge, scores == edge
    free = int(k - above.sum())
    wrong = int((tied & ~truth).sum())
    return 0.0 if truth[above].any() else math.comb(wrong, free) / math.comb(int(tied.sum()), free)


def interval(values, groups, num_resamples=4000, seed=12345):
    """95 % percentile interval of a mean, whole groups drawn; another generator than the harness."""
    names, codes = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(codes, weights=values), np.bincount(codes)
    draws = np.random.Generator(np.random.MT19937(seed)).integers(len(names), size=(num_resamples, len(names)))
    return np.quantile(sums[draws].sum(axis=1) / sizes[draws].sum(axis=1), [0.025, 0.975])


if __name__ == "__main__":
    main()
