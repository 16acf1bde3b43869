"""Models trained alike from several seeds, side by side as one: its cosines are the means of theirs.

Source: averaging what independently trained networks say, as in Lakshminarayanan et al. 2017 (arXiv 1612.01474); that
it is done by laying embeddings side by side, so that one model and one index serve as before, is ours.
"""

from collections.abc import Sequence
from typing import Any

import torch

from phenolip.configuration_phenolip import PhenoLIPConfig
from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train.teacher import module_fingerprint


def join_models(members: Sequence[PhenoLIPModel]) -> PhenoLIPModel:
    """One model of as many parts as there are members, which agree in all but the weights of images and projections.

    A text is read once, by the text tower that all members share, an image by every member's tower. The inverse
    temperature is the mean of theirs.

    Args:
        members: Two or more, of one part each.

    Returns:
        The model, in eval mode, with copies of the weights. Its embeddings are as many times as wide.

    Raises:
        ConfigurationError: There are fewer, or they differ in architecture or in the text tower.
    """
    if len(members) < 2:
        raise ConfigurationError(f"`members` must be two models or more, got {len(members)}.")
    first = members[0]
    _check_alike(members)
    config = PhenoLIPConfig(
        text_config=_of_parts(first.config.text_config, len(members)),
        vision_config=_of_parts(first.config.vision_config, len(members)),
        projection_dim=len(members) * first.config.projection_dim,
        logit_scale_init_value=first.config.logit_scale_init_value,
        max_logit_scale=first.config.max_logit_scale,
    )
    joined = PhenoLIPModel(config).to(first.device, first.dtype)
    joined.text_model.tower.load_state_dict(first.text_model.tower.state_dict())
    for part, member in enumerate(members):
        joined.vision_model.tower.towers[part].load_state_dict(member.vision_model.tower.state_dict())
        for side in ("text_model", "vision_model"):
            own = getattr(member, side).projection.layers
            getattr(joined, side).projection.layers[part].load_state_dict(own.state_dict())
    with torch.no_grad():
        joined.logit_scale.copy_(torch.stack([member.logit_scale.exp() for member in members]).mean().log())
    return joined.eval()


def _check_alike(members: Sequence[PhenoLIPModel]) -> None:
    first = members[0]
    text_tower = module_fingerprint(first.text_model.tower)
    for number, member in enumerate(members):
        if member.config.text_config.num_parts > 1:
            raise ConfigurationError(f"`members` must have one part each; number {number} is joined of several.")
        for side in ("text_config", "vision_config"):
            if _plain(getattr(member.config, side)) != _plain(getattr(first.config, side)):
                raise ConfigurationError(f"`members` must be alike, but number {number} has another `{side}`.")
        if module_fingerprint(member.text_model.tower) != text_tower:
            raise ConfigurationError(
                f"`members` must share their text tower, but number {number} has other weights there; train them with "
                "`freeze_text`."
            )


def _plain(side: Any) -> dict[str, Any]:
    """Settings without where they were read from, and without dropout, which training alone reads."""
    return {
        name: value for name, value in side.to_dict().items() if name not in ("_name_or_path", "projection_dropout")
    }


def _of_parts(side: Any, num_parts: int) -> dict[str, Any]:
    settings = side.to_dict()
    return {**settings, "num_parts": num_parts, "projection_dim": num_parts * side.projection_dim}
