"""Processor of PhenoLIP: image processor, tokenizer and prompt template in one."""

import os
from typing import Any

from transformers import BatchFeature, PreTrainedConfig, ProcessorMixin
from transformers.processing_utils import ProcessingKwargs


class PhenoLIPProcessorKwargs(ProcessingKwargs, total=False):
    """Defaults of a call: texts are padded to the longest of the call and cut at the tokenizer's limit."""

    _defaults = {"text_kwargs": {"padding": True, "truncation": True}}


class PhenoLIPProcessor(ProcessorMixin):
    r"""
    Turns images and texts into the inputs of a [`PhenoLIPModel`].

    Args:
        image_processor (`BaseImageProcessor`):
            Resizes and normalises images.
        tokenizer (`PreTrainedTokenizerBase`):
            Its `model_max_length` bounds a text.
        prompt_template (`str`, *optional*, defaults to `"{}"`):
            Sentence around each text, with `{}` where the text goes; `"{}"` leaves texts as they are.

    Example:

    ```python
    >>> inputs = processor(images=image, text=["Arachnodactyly", "Low-set ears"], return_tensors="pt")
    >>> probabilities = model(**inputs).logits_per_image.softmax(dim=-1)
    ```"""

    valid_processor_kwargs = PhenoLIPProcessorKwargs
    _auto_class = "AutoProcessor"  # `save_pretrained` then copies this file into the folder

    def __init__(self, image_processor, tokenizer, prompt_template: str = "{}"):
        _check_template(prompt_template)
        super().__init__(image_processor, tokenizer)
        self.prompt_template = prompt_template

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> "PhenoLIPProcessor":
        """Loads the processor of a folder or Hub repository; its parts need no custom code, so none is asked for.

        Images are resized by Pillow, as in training, also where torchvision, whose pixels differ, is installed.
        """
        kwargs.setdefault("config", PreTrainedConfig())  # else AutoTokenizer looks for that of the model
        kwargs.setdefault("backend", "pil")
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    def __call__(
        self,
        images: Any = None,
        text: str | list[str] | None = None,
        prompt_template: str | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Inputs of the model.

        Args:
            images (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or a list of them, *optional*):
                Images.
            text (`str` or `list[str]`, *optional*):
                Texts, put into the prompt template.
            prompt_template (`str`, *optional*):
                Takes the place of the processor's own for this call.
            kwargs:
                Settings of the image processor and the tokenizer, `return_tensors` among them.

        Returns:
            `pixel_values` if images came, `input_ids` and `attention_mask` if texts came.
        """
        if text is not None:
            template = self.prompt_template if prompt_template is None else prompt_template
            _check_template(template)
            text = [template.replace("{}", item) for item in ([text] if isinstance(text, str) else text)]
            # A tokenizer file may carry the limit of some earlier call, which the mixin would take for a default.
            if "max_length" not in kwargs.get("text_kwargs", {}):
                kwargs.setdefault("max_length", self.tokenizer.model_max_length)
        return super().__call__(images=images, text=text, **kwargs)


def _check_template(template: str) -> None:
    if not isinstance(template, str) or template.count("{}") != 1:
        raise ValueError(f"`prompt_template` must hold '{{}}' once, where the text goes, got {template!r}.")


__all__ = ["PhenoLIPProcessor"]
