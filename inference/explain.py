"""Why a model scores a phenotype as it does in one image: regions, and the phenotype's neighbours in the ontology."""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import decode_image
from phenolip.inference.encoder import Encoder
from phenolip.inference.explain_maps import gradient_map, occlusion_map
from phenolip.inference.model_knowledge import candidate_texts
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.ontology.graph import PhenotypeOntology

METHODS = ("gradient", "occlusion")
MAX_NEIGHBOURS = 100  # of one kind; a term can have hundreds of siblings

Method = Literal["gradient", "occlusion"]


@dataclass(frozen=True, slots=True)
class NeighbourScore:
    """A phenotype near the explained one.

    Attributes:
        relation: "term" (the explained one itself), "parent", "child" or "sibling" (another child of a parent).
        hpo_id: Its id.
        name: Its name.
        cosine: Cosine similarity with the image.
    """

    relation: str
    hpo_id: str
    name: str
    cosine: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """One phenotype in one image.

    Attributes:
        hpo_id: The phenotype.
        name: Its name.
        cosine: Its score.
        method: How the map was made.
        heat: (H, W) map in the pixels of `picture`; see `explain_maps`.
        picture: What the model saw: the image after its resizing and cropping.
        neighbours: Parents, children and siblings, the best of each kind first.
    """

    hpo_id: str
    name: str
    cosine: float
    method: Method
    heat: NDArray[np.float32]
    picture: Image.Image
    neighbours: tuple[NeighbourScore, ...] = ()


def explain(
    encoder: Encoder,
    image: Any,
    hpo_id: str,
    ontology: PhenotypeOntology,
    *,
    method: Method = "gradient",
    square_px: int | None = None,
    stride_px: int | None = None,
    with_neighbours: bool = True,
) -> Explanation:
    """Explains the score of one phenotype in one image.

    Args:
        encoder: A model with an image side.
        image: Anything that `decode_image` reads.
        hpo_id: The phenotype.
        ontology: The release.
        method: "gradient" (one pass forward and back) or "occlusion" (a pass for each square).
        square_px: Side of the occluding square; see `occlusion_map`.
        stride_px: Its step.
        with_neighbours: Score parents, children and siblings as well.

    Raises:
        ConfigurationError: The model has no image side of ours, or a setting is out of range.
        DataError: The image cannot be read, or the map is no number.
        UnknownTermError: The release does not know the id.
    """
    check_method(method)
    term = ontology[hpo_id]
    pixels = model_pixels(encoder, image)
    relatives = neighbours(ontology, term.id) if with_neighbours else {}
    names = {term.id: term.name} | {other: ontology[other].name for other in relatives}
    embeds = encoder.encode_texts(candidate_texts(encoder, names))  # (1 + neighbours, D)
    heat = heat_map(encoder, pixels, embeds[0], method, square_px=square_px, stride_px=stride_px)
    with torch.inference_mode():
        image_embed = encoder.model.eval().get_image_features(pixels)[0].float().cpu().numpy()
    cosines = (embeds @ image_embed).tolist()
    scored = [
        NeighbourScore(relatives.get(other, "term"), other, name, cosine)
        for (other, name), cosine in zip(names.items(), cosines, strict=True)
    ][1:]
    order = {"parent": 0, "child": 1, "sibling": 2}
    scored.sort(key=lambda row: (order[row.relation], -row.cosine, row.hpo_id))
    return Explanation(term.id, term.name, cosines[0], method, heat, seen_picture(encoder, pixels), tuple(scored))


def heat_map(
    encoder: Encoder,
    pixels: torch.Tensor,
    direction: NDArray,
    method: Method = "gradient",
    *,
    square_px: int | None = None,
    stride_px: int | None = None,
) -> NDArray[np.float32]:
    """The map of one method; see `explain_maps`.

    Raises:
        DataError: The map holds NaN or infinity: the weights are damaged.
    """
    if check_method(method) == "gradient":
        heat = gradient_map(encoder.model, pixels, direction)
    else:
        heat = occlusion_map(encoder.model, pixels, direction, square_px=square_px, stride_px=stride_px)
    if not np.isfinite(heat).all():
        raise DataError(f"`model` {encoder.name} gives a map with NaN or infinity: its weights are damaged.")
    return heat


def neighbours(ontology: PhenotypeOntology, hpo_id: str, limit: int = MAX_NEIGHBOURS) -> dict[str, str]:
    """Id -> "parent", "child" or "sibling", each once, by id; at most `limit` of a kind."""
    parents, children = ontology.parents(hpo_id), ontology.children(hpo_id)
    siblings = sorted({child for parent in parents for child in ontology.children(parent)} - {hpo_id})
    found: dict[str, str] = {}
    for relation, others in (("parent", parents), ("child", children), ("sibling", siblings)):
        for other in [other for other in others if other not in found][:limit]:
            found[other] = relation
    return found


def model_pixels(encoder: Encoder, image: Any) -> torch.Tensor:
    """The image as the model takes it, (1, 3, H, W).

    Raises:
        ConfigurationError: The model has no image side of ours.
        DataError: The image cannot be read.
    """
    if not encoder.has_images or not isinstance(encoder.model, PhenoLIPModel):
        raise ConfigurationError(
            f"`model` {encoder.name} must be a PhenoLIP model with an image side to be explained."
        )
    pixels = encoder.image_processor(images=[decode_image(image)], return_tensors="pt")["pixel_values"]
    return pixels.to(encoder.model.device, encoder.model.dtype)


def seen_picture(encoder: Encoder, pixels: torch.Tensor) -> Image.Image:
    """What the model sees, as a picture: its input without the normalisation."""
    processor = encoder.image_processor
    mean, std = (np.asarray(getattr(processor, name), np.float32) for name in ("image_mean", "image_std"))
    values = pixels[0].float().cpu().numpy().transpose(1, 2, 0) * std + mean
    return Image.fromarray((values * 255).round().clip(0, 255).astype(np.uint8))


def shuffled_encoder(encoder: Encoder, *, seed: int = 0) -> Encoder:
    """The encoder with the entries of every tensor of its image side permuted, which keeps their scale.

    A map that is about the model must change when the model does (Adebayo et al. 2018, arXiv 1810.03292). Deviation
    from the paper: all layers at once, shuffled instead of drawn anew.
    """
    shuffled = copy.copy(encoder)
    shuffled.model = copy.deepcopy(encoder.model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in shuffled.model.vision_model.parameters():
            order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
            tensor.copy_(tensor.flatten()[order].view_as(tensor))
    return shuffled


def random_weights_correlation(encoder: Encoder, image: Any, explanation: Explanation, *, seed: int = 0) -> float:
    """Spearman's correlation of the map with that of `shuffled_encoder`.

    Near 1 means that the map shows edges of the image, not reasons of the model.
    """
    direction = encoder.encode_texts(candidate_texts(encoder, {explanation.hpo_id: explanation.name}))[0]
    shuffled = shuffled_encoder(encoder, seed=seed)
    other = heat_map(shuffled, model_pixels(encoder, image), direction, explanation.method)
    return spearman(explanation.heat.ravel(), other.ravel())


def spearman(first: NDArray, second: NDArray) -> float:
    """Spearman's rank correlation of (n,) values, ties at their mean rank; 0 where one of them does not vary.

    Example:
        >>> round(spearman(np.array([1.0, 2.0, 2.0, 5.0]), np.array([1.0, 3.0, 2.0, 9.0])), 4)
        0.9487
    """
    ranks = np.stack([_mean_ranks(first), _mean_ranks(second)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1)
    return float(ranks[0] @ ranks[1] / norms.prod()) if norms.all() else 0.0


def check_method(method: str) -> str:
    """The method itself, once it is known."""
    if method not in METHODS:
        raise ConfigurationError(f"`method` must be one of {', '.join(METHODS)}, got {method!r}.")
    return method


def _mean_ranks(values: NDArray) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2.0)[inverse]
