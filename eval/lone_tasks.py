"""Tasks that read and report in ways of their own: which function measures them."""

from collections.abc import Callable
from typing import Any

from phenolip.eval.findings_task import evaluate_findings
from phenolip.eval.finegrained_task import evaluate_finegrained
from phenolip.eval.run import Evaluation
from phenolip.eval.tasks.registry import Task
from phenolip.eval.unseen_task import evaluate_unseen
from phenolip.exceptions import ConfigurationError

TASKS: dict[str, tuple[Callable[..., Evaluation], set[str]]] = {  # evaluator -> its function and what it cannot use
    "unseen_terms": (evaluate_unseen, set()),
    "finegrained": (evaluate_finegrained, {"candidates"}),
    "findings": (evaluate_findings, {"candidates", "split", "device"}),
}


def evaluate_alone(task: Task, model: Any, data: Any, output_dir: Any, **settings: Any) -> Evaluation:
    """Evaluates one of these tasks; see the function of its evaluator.

    Raises:
        ConfigurationError: The task has several evaluators, or a setting came that it cannot use.
    """
    (kind, _), *more = task.evaluators.items()
    if more:
        raise ConfigurationError(f"The task '{task.name}' must have one evaluator, got {', '.join(task.evaluators)}.")
    function, unused = TASKS[kind]
    for name in sorted(unused):
        if settings.pop(name, None) is not None:
            raise ConfigurationError(f"`{name}` must be left out for the task '{task.name}'.")
    return function(task, model, data, output_dir, **settings)
