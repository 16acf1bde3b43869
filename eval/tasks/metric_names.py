"""What the metrics of each evaluator are called: a task that names another is refused before anything runs."""

import re
from collections.abc import Iterable

_DIRECTION = "(i2t|t2i|i2p|p2i)"
_PERCENT = r"[\d.]+_percent"
METRIC_NAMES = {
    "retrieval": rf"{_DIRECTION}_(hit|recall)_at_\d+",
    "ranked_retrieval": rf"{_DIRECTION}_(mean_average_precision|ndcg|mean_reciprocal_rank|median_rank"
    r"|(ndcg|precision|hit|recall)_at_\d+)(_strict|_masked)?",
    "zero_shot": r"(macro_)?zero_shot_\w+",
    "zero_shot_ontology": r"zero_shot_\w+",
    "knowledge": r"(synonym|layperson|definition)_to_name_hit_at_\d+|spearman_lin(_uniform)?|parent_child_auc",
    "zero_shot_classes": r"zero_shot_classes_(top1|macro_(recall|f1|auroc|auprc|precision_at_\d+)"
    r"|macro_(f1|accuracy_at_f1)_(val_fitted|oracle)|(ece_equal_(width|mass)|brier)(_at_val_temperature)?"
    r"|none_of_these_(false_positive_rate|sensitivity))",
    "linear_probe": rf"probe_(accuracy|macro_auroc|macro_recall|ece_equal_mass|brier)_at_{_PERCENT}",
    "segmentation": r"segmentation_((imagenet|random)_)?(frozen|finetuned)_dice_(all|positive|all_at_half)"
    rf"_at_{_PERCENT}",
    "faces": r"faces_(hit_at_\d+|sample_(precision|recall|f1)_(at_\d+|val_fitted|oracle))",
    "unseen_terms": r"unseen_\w+",
    "finegrained": r"finegrained_(macro_\w+|(severity|location)_accuracy_(given_category|over_majority))",
    "findings": r"findings_(category_(precision|recall|f1)|\w+_accuracy)",
}


def is_metric(name: str, evaluators: Iterable[str]) -> bool:
    """Whether one of the evaluators measures something of this name.

    Example:
        >>> is_metric("i2t_hit_at_10", ["retrieval"]), is_metric("i2t_hit_at_10", ["faces"])
        (True, False)
    """
    return any(re.fullmatch(METRIC_NAMES[evaluator], name) for evaluator in evaluators)
