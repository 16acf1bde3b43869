import itertools
import json
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.train.accelerator import build_accelerator, native_precision
from phenolip.train.arguments import RunArguments
from phenolip.train.data import EpochPlan
from phenolip.train.faults import Preempted
from phenolip.train.loop import TrainingLoop


@pytest.fixture
def train(build_objective, pair_samples, pair_collator):
    """Function that trains the small objective and returns its weights."""

    def run(output_dir, num_workers=0, identity=None, objective=None, **changes):
        AcceleratorState._reset_state(True)
        settings = {
            "output_dir": str(output_dir), "num_epochs": 2, "batch_size": 4, "learning_rate": 1e-3,
            "gradient_accumulation_steps": 2, "mixed_precision": "no", "save_steps": 2, "log_steps": 3,
            "num_threads": 1,
        }  # fmt: skip
        arguments = RunArguments(**(settings | changes), num_workers=num_workers)
        accelerator = build_accelerator(arguments)
        plan = EpochPlan(len(pair_samples), arguments.batch_size, seed=arguments.seed)
        objective = objective or build_objective(dropout=0.1)
        loop = TrainingLoop(
            objective, pair_samples, pair_collator, plan, arguments, accelerator, identity or {"data": "a"}
        )
        return {name: tensor.clone() for name, tensor in loop.fit().state_dict().items()}

    return run


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def steps_logged(folder):
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stop", [1, 3])
def test_resumed_in_mid_epoch_equals_uninterrupted_to_the_bit(train, tmp_path, stop):
    whole = train(tmp_path / "whole")
    with pytest.raises(Preempted) as stopped:
        train(tmp_path / "parts", stop_after_steps=stop)
    assert stopped.value.code == 75
    torch.rand(7)  # the generator's state must come from the checkpoint
    resumed = train(tmp_path / "parts", resume=True)
    assert_same(whole, resumed)
    assert steps_logged(tmp_path / "parts")[-1] == steps_logged(tmp_path / "whole")[-1] == 4


def test_resuming_with_other_settings_or_data_is_refused(train, tmp_path):
    with pytest.raises(Preempted):
        train(tmp_path, stop_after_steps=2)
    with pytest.raises(ConfigurationError, match="step_00000002 was made with another data;"):
        train(tmp_path, resume=True, identity={"data": "b"})
    with pytest.raises(ConfigurationError, match="another planned_steps"):
        train(tmp_path, resume=True, num_epochs=3)
    with pytest.raises(ConfigurationError, match="another learning_rate;"):
        train(tmp_path, resume=True, learning_rate=1e-4)


def test_checkpoints_are_not_discarded_unasked(train, tmp_path):
    with pytest.raises(Preempted):
        train(tmp_path, stop_after_steps=2)
    with pytest.raises(ConfigurationError, match="holds checkpoints up to step_00000002; give `--resume true`"):
        train(tmp_path)
    train(tmp_path, overwrite=True)
    assert steps_logged(tmp_path) == [3, 4]


def test_resume_without_a_checkpoint_starts(train, tmp_path):
    assert_same(train(tmp_path / "a"), train(tmp_path / "b", resume=True))


@pytest.fixture
def seconds_per_look(monkeypatch):
    """A clock that goes on by a second at every look: timing 8 batches takes a second, and so does all of it."""
    seconds = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(seconds)))
    monkeypatch.setattr("phenolip.train.loop.time", clock)  # that of the loop alone: workers look at theirs


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_run_that_fits_its_time_is_the_run_of_so_many_steps(train, tmp_path, seconds_per_look, num_workers):
    # Started at 0, first timed batch at 1, ended at 2: an eighth of a second a batch, a quarter a step of two.
    timed = train(tmp_path / "timed", num_epochs=20, max_minutes=3.3 / 60, log_steps=1, num_workers=num_workers)
    assert steps_logged(tmp_path / "timed") == [1, 2, 3, 4, 5]  # (3.3 - 2) / 0.25
    assert_same(timed, train(tmp_path / "counted", max_steps=5))


def test_a_resumed_run_keeps_the_number_that_fitted_its_time(train, tmp_path, seconds_per_look, monkeypatch):
    whole = train(tmp_path / "whole", max_steps=5)
    with pytest.raises(Preempted):
        train(tmp_path / "parts", num_epochs=20, max_minutes=3.3 / 60, stop_after_steps=1)
    monkeypatch.setattr("phenolip.train.loop.TrainingLoop._steps_in_time", None)  # it is not asked again
    for changes, name in (({"num_epochs": 30}, "planned_steps"), ({"max_minutes": 1.0}, "max_minutes")):
        with pytest.raises(ConfigurationError, match=f"another {name};"):
            train(tmp_path / "parts", resume=True, **({"num_epochs": 20, "max_minutes": 3.3 / 60} | changes))
    assert_same(train(tmp_path / "parts", num_epochs=20, max_minutes=3.3 / 60, resume=True), whole)


def test_time_bounds_a_run_and_never_lengthens_it(train, tmp_path):
    assert_same(train(tmp_path / "timed", max_minutes=60.0), train(tmp_path / "plain"))
    train(tmp_path / "short", max_minutes=1e-9, log_steps=1)
    assert steps_logged(tmp_path / "short") == [1]


def test_a_checkpoint_of_before_there_was_a_time_is_gone_on_from(train, tmp_path):
    whole = train(tmp_path / "whole")
    with pytest.raises(Preempted):
        train(tmp_path / "parts", stop_after_steps=2)
    path = tmp_path / "parts" / "checkpoints" / "step_00000002" / "progress.json"
    progress = json.loads(path.read_text())
    path.write_text(json.dumps({key: progress[key] for key in progress.keys() - {"max_minutes", "planned_steps"}}))
    path.with_name("files.json").unlink()
    assert_same(train(tmp_path / "parts", resume=True), whole)


def test_old_checkpoints_are_removed_and_partial_ones_ignored(train, tmp_path):
    train(tmp_path, save_steps=1, save_total_limit=2, num_epochs=3)
    folder = tmp_path / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step_00000004", "step_00000005"]
    progress = json.loads((folder / "step_00000005" / "progress.json").read_text())
    assert (progress["step"], progress["num_steps"], progress["data"]) == (5, 6, "a")


def test_twenty_steps_lower_the_loss(train, tmp_path):
    train(tmp_path, max_steps=20, gradient_accumulation_steps=1, log_steps=1, batch_size=8)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])


def test_accumulation_equals_the_mean_of_its_batches(build_objective, pair_samples, pair_collator, train, tmp_path):
    before = build_objective()
    plan = EpochPlan(len(pair_samples), 4, seed=0)
    batches = [pair_collator([pair_samples[key] for key in plan.batch(index)]) for index in (0, 1)]
    (sum(before(batch)["loss"] for batch in batches) / 2).backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in before.parameters() if p.grad is not None])
    trained = build_objective()
    train(tmp_path, objective=trained, max_steps=1, max_grad_norm=0.0, weight_decay=0.0, warmup_fraction=0.0)
    moved = dict(trained.named_parameters())
    # AdamW's first step is lr * sign(gradient) wherever the gradient is far above its eps
    for name, parameter in build_objective().named_parameters():
        gradient = dict(before.named_parameters())[name].grad
        if gradient is not None and "tower" in name:
            strong = gradient.abs() > 1e-4 * norm
            assert torch.equal((parameter - moved[name])[strong].sign(), gradient[strong].sign())


def test_a_loss_that_is_not_finite_stops_the_run(train, build_objective, tmp_path):
    broken = build_objective()
    with torch.no_grad():
        broken.model.logit_scale.fill_(float("nan"))
    with pytest.raises(DataError, match="The loss is not finite at step 2"):
        train(tmp_path, objective=broken)


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "bf16"),
        ({"amx_bf16": False, "avx512_bf16": True}, "bf16"),
        ({"amx_bf16": False, "avx512_f": True, "avx512_vnni": True}, "no"),
        ({}, "no"),
    ],
)
def test_precision_follows_the_hardware(capabilities, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert native_precision("auto", on_cpu=True) == precision
    assert native_precision("fp16", on_cpu=False) == "fp16"


def test_settings_that_this_machine_cannot_follow_are_named(tmp_path):
    for changes, message in (
        ({"mixed_precision": "fp16"}, "`mixed_precision` must be auto, no or bf16 on a CPU, got 'fp16'"),
        ({"report_to": ["wandbb"]}, "Unknown tracker 'wandbb' in `report_to`. Close: 'wandb'"),
        ({"report_to": ["clearml"]}, r"`report_to` must name installed trackers, got \['clearml'\]"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            build_accelerator(RunArguments(output_dir=str(tmp_path), **changes))
