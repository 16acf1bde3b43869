"""Two steps of each supervised baseline, from small configurations."""

import numpy as np
import pytest

from phenolip.datasets_scripts.labelled_images import LabelledImages
from phenolip.datasets_scripts.medmnist_file import ArrayImages
from phenolip.eval.supervised_baselines import (
    SupervisedSettings,
    build_baseline,
    fit_baseline,
    predict_baseline,
    train_baseline,
)
from phenolip.exceptions import ConfigurationError

SMALL = {
    "resnet50": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "convnext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "efficientnet_lite0": {
        **{"stem_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "kernel_sizes": [3, 3], "strides": [1, 2]},
        **{"expand_ratios": [1, 2], "hidden_size": 16},
    },
}


def labelled(labels, exclusive):
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    names = tuple(str(row) for row in range(len(labels)))
    return LabelledImages(ArrayImages(pixels), np.array(labels, np.int8), ("a", "b"), names, names, exclusive)


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("exclusive", [True, False])
def test_two_steps_move_every_weight(name, exclusive):
    images = labelled(
        [[1, 0], [0, 1], [1, 0], [0, 1], [1, 0]] if exclusive else [[1, 1], [0, -1], [0, 0]] * 2, exclusive
    )
    model = build_baseline(name, 2, **SMALL[name])
    before = {key: value.clone() for key, value in model.named_parameters()}
    settings = SupervisedSettings(image_size=32, batch_size=3, max_steps=2)
    losses = train_baseline(model, images, settings)
    assert len(losses) == 2 and np.isfinite(losses).all()
    unmoved = [key for key, value in model.named_parameters() if value.equal(before[key])]
    assert not unmoved
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    chances = predict_baseline(model, images, settings)
    assert chances.shape == (len(images), 2) and all(value.equal(buffers[key]) for key, value in model.named_buffers())
    assert np.allclose(chances.sum(axis=1), 1, atol=1e-5) == exclusive


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_epoch_is_chosen_on_validation_images(exclusive):
    images = labelled([[1, 0], [0, 1]] * 4, exclusive)
    model, seen = build_baseline("convnext", 2, **SMALL["convnext"]), []
    settings = SupervisedSettings(image_size=32, batch_size=4, num_epochs=3)
    weights = {}

    def keep(epoch, accuracy):
        seen.append((epoch, accuracy))
        weights[epoch] = {key: value.clone() for key, value in model.state_dict().items()}

    fit = fit_baseline(model, images, images, images, settings, keep)
    assert [accuracy for _, accuracy in seen] == list(fit.validation_accuracies) and len(seen) == 3
    assert fit.epoch == min(range(1, 4), key=lambda epoch: (-fit.validation_accuracies[epoch - 1], epoch))
    assert all(value.equal(weights[fit.epoch][key]) for key, value in model.state_dict().items())
    assert np.allclose(fit.probabilities, predict_baseline(model, images, settings))


def test_default_sizes_are_those_of_the_papers():
    from transformers import ConvNextConfig, ResNetConfig

    assert list(ResNetConfig().depths) == [3, 4, 6, 3] and list(ConvNextConfig().depths) == [3, 3, 9, 3]


def test_unknown_baselines_are_named():
    with pytest.raises(ConfigurationError, match="Unknown baseline 'resnet5'. Close: 'resnet50'"):
        build_baseline("resnet5", 2)
    with pytest.raises(ConfigurationError, match="`weights` must be None for efficientnet_lite0"):
        build_baseline("efficientnet_lite0", 2, weights="somewhere")
