"""Compiled towers give the losses, gradients and weight names of plain ones, and compile few times."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from phenolip.exceptions import ConfigurationError
from phenolip.train.arguments import parse
from phenolip.train.compiled_towers import compile_towers
from phenolip.train.stage2_arguments import ModelArguments
from phenolip.train.tower_layers import choose_attention


def gradients(objective, batch):
    objective.zero_grad()
    loss = objective(batch)["loss"]
    loss.backward()
    return loss.detach(), {name: weight.grad for name, weight in objective.named_parameters()}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_towers_train_like_plain_ones(build_objective, pair_samples, pair_collator, backend):
    torch._dynamo.reset()
    plain, compiled = build_objective(), build_objective()
    choose_attention(compiled.model.text_model, torch.device("cpu"))  # as Stage 2 does
    counter = CompileCounterWithBackend(backend)
    compile_towers(compiled.model, counter)
    for start in (0, 8):
        batch = pair_collator([pair_samples[(0, row)] for row in range(start, start + 8)])
        (loss, expected), (found_loss, found) = gradients(plain, batch), gradients(compiled, batch)
        torch.testing.assert_close(found_loss, loss)
        for name, gradient in expected.items():  # keys of both: compiling renames nothing
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert found.keys() == expected.keys() and compiled.state_dict().keys() == plain.state_dict().keys()
    assert 2 <= counter.frame_count <= 6  # two towers; no shape of a text begins again


def test_only_known_backends_are_taken():
    (arguments,) = parse((ModelArguments,), ["--torch_compile", "aot_eager"], description="x")
    assert arguments.torch_compile == "aot_eager" and ModelArguments().torch_compile == "no"
    with pytest.raises(ConfigurationError, match="torch-compile: invalid choice: 'fast'"):
        parse((ModelArguments,), ["--torch_compile", "fast"], description="x")
