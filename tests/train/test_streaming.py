import threading
from functools import partial

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from phenolip.datasets_scripts.parquet_shards import ParquetShards, find_shards
from phenolip.datasets_scripts.prepare import SPLIT_PAIRS
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train.accelerator import build_accelerator
from phenolip.train.arguments import RunArguments
from phenolip.train.build_stream import check_streaming, stream_labels
from phenolip.train.collator import PairCollator
from phenolip.train.cutmix import CutMix
from phenolip.train.data import EpochPlan, ImageTextPairs
from phenolip.train.faults import Preempted
from phenolip.train.loop import TrainingLoop
from phenolip.train.stage2_arguments import DataArguments, LossArguments, ModelArguments
from phenolip.train.streaming import COLUMNS, StreamedPairs, StreamPlan, WindowedOrder
from phenolip.train.streaming_inputs import StreamCollator, stable_groups
from phenolip.train.targets.identity import duplicate_groups
from phenolip.train.targets.multi_hot import MultiHotTargets
from phenolip.train.teacher import load_teacher

from .conftest import tiny_tokenize

SETTINGS = {"image_size": 32, "min_crop_area": 0.5, "color_jitter": 0.2, "seed": 0}


def write_shards(rows, folder, rows_per_group=4, rows_per_file=10):
    """Parquet files of a table, as `phenolip prepare split` writes them but for the size of their groups."""
    folder.mkdir()
    full = [{**row, "phenotypes": [], "findings": []} for row in rows]
    schema = SPLIT_PAIRS.arrow_schema
    for start in range(0, len(full), rows_per_file):
        records = [{name: row[name] for name in SPLIT_PAIRS} for row in full[start : start + rows_per_file]]
        table = pa.Table.from_pylist(records, schema=schema)
        pq.write_table(table, folder / f"train-{start:05d}.parquet", row_group_size=rows_per_group)
    return folder


@pytest.fixture(scope="module")
def shard_dir(pair_rows, tmp_path_factory):
    """Two files with row groups of 4, 4, 2 and 4, 4 rows."""
    return write_shards(pair_rows, tmp_path_factory.mktemp("stream") / "pairs")


@pytest.fixture
def shards(shard_dir):
    return ParquetShards(find_shards(str(shard_dir)), "pairs")


def rows_of(plan, epoch=0):
    first = epoch * plan.batches_per_epoch
    return [row for index in range(plan.batches_per_epoch) for _, row in plan.batch(first + index)]


@pytest.mark.parametrize(("batch_size", "buffer"), [(1, 7), (8, 64), (12, 30), (64, 200), (1000, 1000)])
def test_an_epoch_takes_every_row_once_and_holds_few_row_groups(batch_size, buffer):
    sizes = np.random.default_rng(0).integers(1, 8, 200)
    order = WindowedOrder(np.cumsum([0, *sizes]), batch_size, buffer=buffer, seed=3)
    first, second = order(0), order(1)
    assert sorted(first) == sorted(second) == list(range(sizes.sum())) and (first != second).any()
    assert np.array_equal(first, WindowedOrder(order.starts, batch_size, buffer=buffer, seed=3)(0))
    group_of = np.repeat(np.arange(len(sizes)), sizes)
    # a group is open from its first row to its last: at most two windows of each lane, and the groups that lanes share
    used = len(first) // order.batch_size * order.batch_size
    batch_of = np.arange(used) // order.batch_size
    spans = [batch_of[group_of[first[:used]] == group] for group in range(len(sizes))]
    opened = np.zeros(used // order.batch_size + 1, dtype=int)
    by_lane = order.lanes * (order.groups_per_window + 1)
    for span in spans:
        if len(span) and span.max() - span.min() <= buffer // order.batch_size + 1:
            opened[span.min() : span.max() + 1] += 1
    assert opened.max() <= 2 * by_lane
    straddling = sum(len(span) > 0 and span.max() - span.min() > buffer // order.batch_size + 1 for span in spans)
    assert straddling < order.lanes  # only those that two lanes share


def test_one_window_over_all_rows_is_a_plain_shuffle():
    order = WindowedOrder(np.arange(0, 61, 3), 5, buffer=10_000, seed=0)
    assert order.lanes == 1
    places = np.array([np.argsort(order(epoch)) for epoch in range(400)])
    assert abs(places.mean(axis=0) - 29.5).max() < 4.5  # of each row, over epochs; sd of the mean is 0.87
    neighbours = np.abs(np.diff(places, axis=1)).mean()
    assert neighbours == pytest.approx(20.3, abs=1)  # (n + 1) / 3 between independent places


def test_processes_share_the_batches_of_one_and_read_different_groups(shards):
    whole = StreamPlan(shards, 8, buffer=16, seed=1)
    parts = [StreamPlan(shards, 8, buffer=16, seed=1, rank=rank, world_size=2) for rank in (0, 1)]
    for index in range(5):
        assert whole.batch(index) == parts[0].batch(index) + parts[1].batch(index)
    assert len(set(rows_of(whole))) == 16
    read = [{shards.group_of(row) for row in rows_of(part)} for part in parts]
    assert len(read[0] & read[1]) <= 1  # the one that the border between them cuts


@pytest.mark.parametrize("micro_batch_size", [0, 3])
def test_the_reader_gives_every_record_and_reads_a_group_once_an_epoch(
    shards, pair_rows, micro_batch_size, monkeypatch
):
    read, lock, original = [], threading.Lock(), shards.read

    def spy(group, columns):
        with lock:
            read.append(group)
        return original(group, columns)

    monkeypatch.setattr(shards, "read", spy)
    plan = StreamPlan(shards, 6, buffer=8, seed=0)
    sampler = plan.sampler(0, plan.batches_per_epoch, micro_batch_size)
    batches = list(sampler)
    assert len(batches) == len(sampler) == plan.batches_per_epoch * (4 if micro_batch_size else 1)
    for (_, row), record in (item for batch in batches for item in batch):
        assert record == {name: pair_rows[row][name] for name in COLUMNS}
    assert len(read) <= len(set(read)) + 1  # a group on the border of two stretches may come back much later


def test_streamed_batches_are_those_of_a_table(shards, pair_rows, tiny_model_dir):
    tokenize = tiny_tokenize(tiny_model_dir)
    captions = list(pair_rows["caption"])
    groups = duplicate_groups(captions, pair_rows["sha256"], pair_rows["group_id"])
    targets = MultiHotTargets(pair_rows["hpo_ids"])
    of_table = PairCollator({"group_ids": groups}, targets=targets, captions=captions, tokenize=tokenize)
    labels = MultiHotTargets([[label] for label in shards.labels()])
    of_stream = StreamCollator(tokenize, targets=labels)
    of_table, of_stream = (CutMix(collate, probability=0.5, seed=0) for collate in (of_table, of_stream))
    plan = StreamPlan(shards, 6, buffer=8, seed=0)
    arguments = {"first_batch": 1, "num_batches": 5}
    tables = EpochPlan(18, 6, seed=0, order=plan.order).loader(
        ImageTextPairs(pair_rows, **SETTINGS), of_table, num_workers=0, **arguments
    )
    for num_workers in (0, 2):
        streams = plan.loader(StreamedPairs(18, **SETTINGS), of_stream, num_workers=num_workers, **arguments)
        for table, stream in zip(tables, streams, strict=True):
            for column in range(3):  # the same rows are one group, whatever its number
                pairs = [
                    batch.pop("group_ids")[:, column] if column == 2 else batch["group_ids"][:, column]
                    for batch in (table, stream)
                ]
                same = [ids[:, None] == ids[None] for ids in pairs]
                assert torch.equal(*same)
            assert table.keys() == stream.keys()
            assert all(torch.equal(table[name], stream[name]) for name in table)


def test_groups_by_hash_are_those_by_rank(pair_rows):
    samples = [{**row, "row": number} for number, row in enumerate(pair_rows)]
    samples[3]["group_id"] = samples[4]["group_id"] = ""
    ranks = duplicate_groups(*([sample[name] for sample in samples] for name in ("caption", "sha256", "group_id")))
    hashes = stable_groups(samples)
    for column in range(3):
        by_rank, by_hash = ranks[:, column], hashes[:, column]
        assert np.array_equal(by_rank[:, None] == by_rank, by_hash[:, None] == by_hash)
    assert np.array_equal(stable_groups(samples[5:9]), hashes[5:9])  # whatever else is in the batch


@pytest.fixture
def train(shards, build_objective, tiny_model_dir, tmp_path):
    """Function that trains on the stream and returns the objective."""
    folder = tmp_path / "teacher"
    PhenoLIPModel.from_pretrained(tiny_model_dir).text_model.save_pretrained(folder)
    tiny_tokenize(tiny_model_dir).tokenizer.save_pretrained(folder)
    teacher, teacher_tokenize = load_teacher(folder, 32)

    def run(output_dir, num_workers=0, **changes):
        settings = {
            "output_dir": str(output_dir), "max_steps": 7, "batch_size": 6, "learning_rate": 1e-3, "log_steps": 1,
            "mixed_precision": "no", "save_steps": 0, "num_workers": num_workers, "num_threads": 1,
        }  # fmt: skip
        arguments = RunArguments(**{**settings, **changes})
        plan = StreamPlan(shards, 6, buffer=8, seed=0)
        collate = StreamCollator(tiny_tokenize(tiny_model_dir), teacher_tokenize=teacher_tokenize)
        objective = build_objective(
            dropout=0.1, name_weight=0.0, teacher=teacher, knowledge_dim=teacher.config.projection_dim
        )
        samples = StreamedPairs(18, **SETTINGS)
        return TrainingLoop(objective, samples, collate, plan, arguments, build_accelerator(arguments), {}).fit()

    return run


@pytest.mark.parametrize(("num_workers", "micro_batch_size"), [(0, 0), (2, 0), (0, 4)])
def test_a_stream_resumed_in_mid_epoch_equals_one_uninterrupted_to_the_bit(
    train, tmp_path, num_workers, micro_batch_size
):
    changes = {"num_workers": num_workers, "micro_batch_size": micro_batch_size}
    whole = train(tmp_path / "whole", **changes).state_dict()
    assert not any("teacher" in name for name in whole)
    with pytest.raises(Preempted):
        train(tmp_path / "parts", stop_after_steps=4, **changes)  # an epoch has 3
    torch.rand(5)
    resumed = train(tmp_path / "parts", resume=True, **changes).state_dict()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_a_teacher_in_the_step_says_what_its_stored_embeddings_do(
    build_objective, train, shards, tiny_model_dir, tmp_path
):
    folder = tmp_path / "reader"
    PhenoLIPModel.from_pretrained(tiny_model_dir).text_model.save_pretrained(folder)
    tiny_tokenize(tiny_model_dir).tokenizer.save_pretrained(folder)
    teacher, teacher_tokenize = load_teacher(folder, 32)
    plan = StreamPlan(shards, 6, buffer=8, seed=0)
    collate = StreamCollator(tiny_tokenize(tiny_model_dir), teacher_tokenize=teacher_tokenize)
    loader = plan.loader(StreamedPairs(18, **SETTINGS), collate, first_batch=0, num_batches=1, num_workers=0)
    (batch,) = loader
    settings = {"name_weight": 0.0, "knowledge_dim": teacher.config.projection_dim}
    in_step = build_objective(teacher=teacher, **settings)(batch)
    with torch.no_grad():
        tokens = {name: batch[f"teacher_{name}"] for name in ("input_ids", "attention_mask")}
        stored = {**batch, "knowledge_embeds": teacher(**tokens).text_embeds}
    beforehand = build_objective(**settings)(stored)
    for name, value in beforehand.items():
        torch.testing.assert_close(in_step[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "data", "loss", "message"),
    [
        ({"freeze_text": True}, {}, {}, "`freeze_text` must be false where `streaming` is true"),
        ({"cached_views": 2, "vision_blocks": 0}, {}, {}, "`cached_views` must be 0 where"),
        ({}, {"order": "length"}, {}, "`order` must be shuffled where"),
        ({}, {}, {"text_unit": "entity"}, "`text_unit` must be report where"),
        ({}, {}, {"matching_weight": 1.0, "matching_ce": "bce"}, "`matching_weight` must be 0 where"),
        ({}, {"max_bad_fraction": 0.5}, {}, "`max_bad_fraction` must be left out where"),
        ({}, {}, {"targets": "ssm", "knowledge_encoder": "x"}, "`targets` must be another than ssm where"),
    ],
)
def test_what_needs_the_whole_table_is_refused(model, data, loss, message):
    arguments = (
        ModelArguments(**model),
        DataArguments(data="x", streaming=True, **data),
        LossArguments(knowledge_weight=0.0, **loss),
    )
    with pytest.raises(ConfigurationError, match=message):
        check_streaming(*arguments)


def test_shards_that_cannot_be_streamed_are_named(shards, shard_dir, ontology, tmp_path):
    with pytest.raises(
        ConfigurationError, match="`shuffle_buffer` must be at least 4, the rows of the largest row group"
    ):
        StreamPlan(shards, 4, buffer=3, seed=0)
    with pytest.raises(DataError, match="HP:0000000 is no current term of HPO release"):
        stream_labels(shards, ontology)
    with pytest.raises(DataError, match="must be a folder of Parquet files or a Hub id"):
        find_shards(str(tmp_path / "nothing"))
    pq.write_table(pa.table({"image": ["a"], "caption": ["b"]}), tmp_path / "bare.parquet")
    with pytest.raises(DataError, match="bare.parquet has no column `phenotypes`"):
        ParquetShards(find_shards(str(tmp_path / "bare.parquet")), "bare")
    (tmp_path / "cut.parquet").write_bytes(next(shard_dir.glob("*.parquet")).read_bytes()[:-9])
    with pytest.raises(DataError, match="cut.parquet cannot be read as Parquet"):
        ParquetShards([str(tmp_path / "cut.parquet")], "cut")
    samples = StreamedPairs(1, **SETTINGS)
    with pytest.raises(DataError, match="Row 7 of the stream has no image"):
        samples[((0, 7), {"image": {"bytes": None, "path": "/etc/passwd"}})]
    with pytest.raises(DataError, match="Row 7 of the stream: the image is not an image"):
        samples[((0, 7), {"image": {"bytes": b"no", "path": None}})]


def test_tables_of_the_stream_are_the_rows_and_the_revision_is_their_content(shards, pair_rows, tmp_path):
    parts = list(shards.tables(5))
    assert [len(part) for part in parts] == [8, 6, 4]
    rows = datasets.concatenate_datasets(parts)
    assert rows["caption"][:] == pair_rows["caption"][:] and rows[3]["image"] == pair_rows[3]["image"]
    again = partial(write_shards, rows_per_group=4)
    same, other = (
        again(pair_rows, tmp_path / "same"),
        again(pair_rows.select([1, 0, *range(2, 18)]), tmp_path / "other"),
    )
    assert ParquetShards(find_shards(str(same)), "x").revision == shards.revision
    assert ParquetShards(find_shards(str(other)), "x").revision != shards.revision
