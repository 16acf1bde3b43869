"""What `phenolip embed` keeps of each row; read without torch, so that the command line starts at once."""

from dataclasses import dataclass

from phenolip.exceptions import ConfigurationError

DTYPES = ("float32", "float16")


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """What is kept of each row, and in which portions.

    Attributes:
        dtype: Precision of the stored embeddings, "float32" or "float16".
        captions: Embed captions too.
        thumbnail_px: Longer side of a small copy of each picture, for pages of hits; 0 keeps none.
        rows_per_shard: Rows of one Parquet file, the most that a kill can cost.
        batch_size: Rows encoded at a time.
    """

    dtype: str = "float32"
    captions: bool = True
    thumbnail_px: int = 128
    rows_per_shard: int = 8192
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigurationError(f"`dtype` must be {' or '.join(DTYPES)}, got {self.dtype!r}.")
        for name, least in (("thumbnail_px", 0), ("rows_per_shard", 1), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"`{name}` must be at least {least}, got {getattr(self, name)}.")
