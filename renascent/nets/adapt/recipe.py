"""Python code that shrinks a model without renascent."""

from collections.abc import Mapping

from torch import nn

from renascent.core.space import Arch
from renascent.nets.adapt.edits import shrunk, tensors
from renascent.nets.adapt.plan import Plan

CODE = '''"""Shrinks the model to an architecture that renascent found. Needs PyTorch alone.

    model = shrink(make_the_original_model())
    model.load_state_dict(safetensors.torch.load_file("shared.safetensors"))
"""

import torch

SHAPES = {shapes}

ATTRIBUTES = {attributes}

IDENTITIES = {identities}

REMOVED = {removed}


def shrink(model):
    """Give the layers of `model` their new sizes, in place; their weights are still to be loaded."""
    made = {{}}  # of each weight, so that tied ones stay tied
    for name, shape in SHAPES.items():
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        old = getattr(module, leaf)
        if id(old) not in made:
            new = old.detach().new_zeros(shape)
            is_parameter = isinstance(old, torch.nn.Parameter)
            made[id(old)] = (torch.nn.Parameter(new, old.requires_grad) if is_parameter else new), old
        setattr(module, leaf, made[id(old)][0])
    for name, values in ATTRIBUTES.items():
        for attribute, value in values.items():
            setattr(model.get_submodule(name), attribute, value)
    for name in IDENTITIES:
        model.set_submodule(name, torch.nn.Identity())
    for name in REMOVED:
        owner, _, leaf = name.rpartition(".")
        del model.get_submodule(owner)._modules[leaf]
    return model
'''


def recipe(model: nn.Module, plan: Plan, arch: Arch) -> str:
    """Return the code that makes `arch` of the model it was found in."""
    change = plan.change(plan.space.arch(arch))
    small = shrunk(model, plan.axes, change)
    gone = tuple(f"{block}." for _, block in change.dropped)
    before, after = dict(tensors(model)), dict(tensors(small))
    shapes = {n: tuple(t.shape) for n, t in after.items() if not n.startswith(gone) and t.shape != before[n].shape}
    attributes: dict[str, dict[str, object]] = {}
    for name, module in small.named_modules():
        old = vars(model.get_submodule(name))
        new: dict[str, object] = {
            k: v for k, v in vars(module).items() if isinstance(v, int | tuple) and k in old and v != old[k]
        }
        if new:
            attributes[name] = new
    return CODE.format(
        shapes=_listed(shapes),
        attributes=_listed(attributes),
        identities=[block for run, block in change.dropped if run.plain],
        removed=[block for run, block in change.dropped if not run.plain],
    )


def _listed(values: Mapping[str, object]) -> str:
    lines = "".join(f"    {key!r}: {value!r},\n" for key, value in values.items())
    return f"{{\n{lines}}}" if lines else "{}"
