"""Towers compiled by `torch.compile` for training, with shapes few enough that it need not start again."""

from phenolip.modeling_phenolip import UNPADDED, PhenoLIPModel

WIDTH_MULTIPLE = 8


def compile_towers(model: PhenoLIPModel, backend: str) -> None:
    """Compiles both towers in place, at their first call; weights and their names stay as they are.

    Texts are read in padded chunks whose widths are multiples of 8, the number of tokens being a symbol to the
    compiler. Texts that lie end to end, as they are read on a CPU, would be a new shape each time: they are not then.

    Args:
        model: Its towers are trained.
        backend: Of `torch.compile`: inductor, aot_eager or eager.
    """
    if model.text_model.tower.config._attn_implementation == UNPADDED:
        model.text_model.tower.set_attn_implementation("sdpa")
    model.text_model.width_multiple = WIDTH_MULTIPLE
    model.vision_model.tower.compile(backend=backend)
    model.text_model.tower.compile(backend=backend, dynamic=True)
