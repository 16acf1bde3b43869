"""GLoRIA's local term: each word of a text looks for its region of an image, and the pair's words add up."""

import torch
import torch.nn.functional as F
from torch import nn


class LocalRegionWordLoss(nn.Module):
    """Symmetric InfoNCE over attention-weighted likeness of the words of texts and the regions of images.

    Choose it beside a contrastive loss where a finding fills a small part of the image: one vector of an image has to
    average it away. Costs a product of all regions with all words of the batch, (N, R, T) for T words without padding.

    With unit vectors v_r of regions and t_w of words, s = v . t:

        a_rw = softmax over regions of s_rw / attention_temperature
        c_w  = sum over r of a_rw v_r
        Z    = word_temperature * log sum over w of exp(cos(c_w, t_w) / word_temperature)

    and the loss is the cross-entropy of Z / temperature against the text's own image and the image's own text.

    Args:
        attention_temperature: tau_1; no unit, above 0.
        word_temperature: tau_2, the lower, the more the best word decides.
        temperature: tau_3. With tau_2 = 1/5, 1/50 is the factor 10 of the authors' code, which leaves tau_2 out before
            the logarithm.

    Shapes (N rows of the whole batch, R regions, L tokens, D width):
        regions: (N, R, D). words: (N, L, D). is_word: (N, L) bool, False at padding and marks such as [CLS].
        excluded: (N, N) bool, symmetric, pairs that are no negatives, or None.
        returns: scalar in nats, mean over rows and both directions; rows whose text has no word are left out, 0 where
        none has.

    Relations: with one region and one word it is InfoNCE of their cosines at `temperature`.
    Source: GLoRIA, Huang et al. 2021 (ICCV), its local contrastive loss; temperatures from the authors' code.
    Deviations: regions and words have unit norm in s too; the code's softmax over words before the attention is left
        out, as in the paper's formula; word pieces are not joined into words.

    Example:
        >>> eye = torch.eye(2)[:, None]  # one region, one word each
        >>> round(LocalRegionWordLoss(temperature=1.0)(eye, eye, torch.ones(2, 1, dtype=torch.bool)).item(), 4)
        0.3133
    """

    def __init__(
        self, attention_temperature: float = 1 / 4, word_temperature: float = 1 / 5, temperature: float = 1 / 50
    ) -> None:
        super().__init__()
        self.attention_temperature, self.word_temperature = attention_temperature, word_temperature
        self.temperature = temperature

    def forward(
        self,
        regions: torch.Tensor,
        words: torch.Tensor,
        is_word: torch.Tensor,
        excluded: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See the class."""
        kept = is_word.any(dim=1)
        if not kept.any():
            return (regions.sum() + words.sum()) * 0.0
        logits = self.similarity(regions[kept], words[kept], is_word[kept]) / self.temperature
        if excluded is not None:
            logits = logits.masked_fill(excluded[kept][:, kept], float("-inf"))
        own = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2

    def similarity(self, regions: torch.Tensor, words: torch.Tensor, is_word: torch.Tensor) -> torch.Tensor:
        """Z of each image and text.

        Shapes: regions (N, R, D), words (M, L, D), is_word (M, L), True somewhere in each row; returns (N, M).
        """
        regions = F.normalize(regions.float(), dim=-1)
        packed = F.normalize(words[is_word].float(), dim=-1)  # (T, D)
        owner = is_word.nonzero()[:, 0]  # (T,)
        likeness = packed @ regions.transpose(1, 2)  # (N, T, R)
        attention = (likeness / self.attention_temperature).softmax(dim=-1)
        # cos(c, t) without the (N, T, D) contexts c: t . c = sum of a s, and |c|^2 = a G a with G = v . v
        gram = regions @ regions.transpose(1, 2)  # (N, R, R)
        squared_norm = ((attention @ gram) * attention).sum(dim=-1)
        smallest = torch.finfo(squared_norm.dtype).eps  # opposite regions may cancel
        cosine = (attention * likeness).sum(dim=-1) * squared_norm.clamp(min=smallest).rsqrt()  # (N, T)
        total = cosine.new_zeros(len(regions), len(words))
        total = total.index_add(1, owner, (cosine / self.word_temperature).exp())
        return self.word_temperature * total.log()
