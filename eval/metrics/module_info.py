"""How an `evaluate` module introduces itself; the four modules beside this file differ in texts and types alone."""

import datasets
import evaluate


def module_info(description: str, inputs: str, predictions: object, references: object) -> evaluate.MetricInfo:
    """What `evaluate` wants to know of a module.

    Args:
        description: What is measured.
        inputs: The arguments of `compute`, as text.
        predictions, references: `datasets` features of one example.
    """
    features = datasets.Features({"predictions": predictions, "references": references})
    return evaluate.MetricInfo(description=description, citation="", inputs_description=inputs, features=features)
