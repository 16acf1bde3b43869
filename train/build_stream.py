"""From settings to the pairs of a stream: what `streaming: true` builds in the place of a table's rows and inputs."""

from pathlib import Path

from phenolip.datasets_scripts.parquet_shards import ParquetShards, find_shards
from phenolip.exceptions import DataError, UnknownTermError
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.train.arguments import require
from phenolip.train.build_pairs import targets_of, text_needs
from phenolip.train.pair_inputs import PairInputs
from phenolip.train.stage2_arguments import DataArguments, LossArguments, ModelArguments
from phenolip.train.streaming import StreamedPairs
from phenolip.train.streaming_inputs import build_stream_inputs


def check_streaming(model: ModelArguments, data: DataArguments, loss: LossArguments) -> None:
    """Refuses what needs the whole table before the first step.

    Raises:
        ConfigurationError: Such a setting is on.
    """
    where = "where `streaming` is true"
    require(data.order == "shuffled", "order", f"shuffled {where}: others sort all rows by what they hold", data.order)
    require(not model.freeze_text, "freeze_text", f"false {where}: its features are stored for all captions", True)
    require(not model.cached_views, "cached_views", f"0 {where}: they are stored for all images", model.cached_views)
    require(
        loss.text_unit == "report", "text_unit", f"report {where}: findings are numbered over all rows", loss.text_unit
    )
    weight = loss.matching_weight
    require(not weight, "matching_weight", f"0 {where}: its targets are counted over all rows first", weight)
    require(
        data.max_bad_fraction == DataArguments.max_bad_fraction,
        "max_bad_fraction",
        f"left out {where}: `phenolip prepare split` has left bad rows out, and one in a shard ends the run",
        data.max_bad_fraction,
    )
    require(
        loss.targets != "ssm",
        "targets",
        f"another than ssm {where}: it compares all captions beforehand",
        loss.targets,
    )


def open_stream(data: DataArguments) -> ParquetShards:
    """Shards of `data` and `extra_data`."""
    sources = [(data.data, data.split), *((extra, None) for extra in data.extra_data)]
    return ParquetShards([file for source, split in sources for file in find_shards(source, split)], data.data)


def stream_labels(shards: ParquetShards, ontology: PhenotypeOntology) -> list[str]:
    """Phenotypes that any row has, sorted.

    Raises:
        DataError: One of them is not in this release; a stream's ids are not resolved.
    """
    labels = shards.labels()
    for hpo_id in labels:
        try:
            known = ontology.resolve(hpo_id) == hpo_id
        except UnknownTermError:
            known = False
        if not known:
            raise DataError(
                f"Data {shards.name}: {hpo_id} is no current term of HPO release {ontology.release}; write the shards "
                "anew with `phenolip prepare split`."
            )
    return labels


def build_inputs_of_stream(
    model: PhenoLIPModel,
    processor: PhenoLIPProcessor,
    labels: list[str],
    ontology: PhenotypeOntology,
    loss: LossArguments,
    cache_dir: Path,
) -> PairInputs:
    """What a batch holds beside images; `labels` may be empty where no loss looks at phenotypes."""
    targets = targets_of([[label] for label in labels], ontology, loss) if loss.needs_targets else None
    needs = text_needs(targets, ontology, loss, processor.tokenizer.model_max_length)
    return build_stream_inputs(model, processor.tokenizer, needs, cache_dir=cache_dir)


def build_stream_samples(
    shards: ParquetShards, model: ModelArguments, data: DataArguments, seed: int
) -> StreamedPairs:
    """Varied images by epoch and row."""
    return StreamedPairs(
        shards.num_rows,
        image_size=model.image_size,
        min_crop_area=data.min_crop_area,
        color_jitter=data.color_jitter,
        seed=seed,
        first_image_size=data.first_image_size,
        num_first_epochs=data.num_first_epochs,
        grayscale=data.grayscale,
        reduced_decoding=data.reduced_decoding,
    )
