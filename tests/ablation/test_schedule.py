import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import pytest

from phenolip.ablation.schedule import run_all
from phenolip.exceptions import DataError, PhenoLIPError


def specs(*groups):
    return [SimpleNamespace(name=str(number), feature_group=group) for number, group in enumerate(groups)]


def run(todo, work, jobs):
    ends = []
    with ThreadPoolExecutor(jobs) as executor:
        failed = run_all(todo, executor, work, jobs=jobs, on_end=lambda *end: ends.append(end))
    return failed, ends


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_the_first_of_a_group_is_alone_in_it_and_all_are_run_once(jobs):
    lock, active, done, counts = threading.Lock(), [], [], []

    def work(spec):
        with lock:
            others = [other for other in active if other.feature_group == spec.feature_group]
            is_encoded = any(other.feature_group == spec.feature_group for other in done)
            assert spec.feature_group is None or is_encoded or not others
            active.append(spec)
            counts.append(len(active))
        threading.Event().wait(0.01)
        with lock:
            active.remove(spec)
            done.append(spec)
        return 1.0

    todo = specs("a", "a", "a", "b", None, "b", "a", None)
    failed, ends = run(todo, work, jobs)
    assert not failed and sorted(spec.name for spec in done) == [spec.name for spec in todo]
    assert max(counts) == jobs and all(seconds == 1.0 and error is None for _, seconds, error in ends)


def test_a_failure_is_reported_and_the_others_go_on():
    def work(spec):
        if spec.name == "0":
            raise DataError("no")
        return 2.0

    failed, ends = run(specs("a", "a", "a"), work, 2)
    assert [spec.name for spec in failed] == ["0"] and len(ends) == 3
    assert [str(error) for spec, _, error in ends if error] == ["no"]


def test_a_killed_worker_is_one_sentence():
    def work(spec):
        raise BrokenProcessPool

    with pytest.raises(PhenoLIPError, match="killed during 0, .* `--jobs 1` in less memory"):
        run(specs("a"), work, 1)
