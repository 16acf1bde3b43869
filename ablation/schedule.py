"""Runs side by side, in an order in which none encodes what another is encoding."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool

from phenolip.ablation.runs import RunSpec
from phenolip.exceptions import PhenoLIPError


def run_all(
    specs: Sequence[RunSpec],
    executor: Executor,
    work: Callable[[RunSpec], float],
    *,
    jobs: int,
    on_end: Callable[[RunSpec, float | None, BaseException | None], None],
) -> list[RunSpec]:
    """Runs every spec, at most `jobs` at a time; the first of a feature group alone in its group.

    A run that fails is reported, and the others go on.

    Args:
        specs: In the order of preference.
        executor: Where the work is done.
        work: Does one run and returns its seconds.
        jobs: Runs at a time.
        on_end: Told of each run: its seconds, or its error.

    Returns:
        The runs that failed.

    Raises:
        PhenoLIPError: A worker process was killed, so that no further run can be started.
    """
    todo, failed = list(specs), []
    running: dict[Future, RunSpec] = {}
    encoded: set[str] = set()
    while todo or running:
        while len(running) < jobs and (spec := _next(todo, running.values(), encoded)) is not None:
            todo.remove(spec)
            running[executor.submit(work, spec)] = spec
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            spec, error = running.pop(future), future.exception()
            if isinstance(error, BrokenProcessPool):
                raise PhenoLIPError(
                    f"A worker process was killed during {spec.name}, most likely for lack of memory: the same "
                    "command goes on from here, with `--jobs 1` in less memory."
                )
            on_end(spec, None if error else future.result(), error)
            if error:
                failed.append(spec)
            elif spec.feature_group:
                encoded.add(spec.feature_group)
    return failed


def _next(todo: Sequence[RunSpec], running: Sequence[RunSpec], encoded: set[str]) -> RunSpec | None:
    """The first run whose images are encoded, or that no running one is encoding."""
    encoding = {spec.feature_group for spec in running} - encoded - {None}
    return next((spec for spec in todo if spec.feature_group not in encoding), None)
