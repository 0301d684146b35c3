"""The papers' settings by name: whole searches, and trainings of one network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from renascent.core.names import Names

if TYPE_CHECKING:
    from renascent.experiment.recipes.recipe import Recipe

RECIPES: Names[Recipe] = Names(
    {
        "nats-topology-rsps": "renascent.experiment.recipes.nats_search:rsps",
        "nats-topology-darts": "renascent.experiment.recipes.nats_search:darts",
        "nats-topology-darts-second-order": "renascent.experiment.recipes.nats_search:darts_second_order",
        "nats-topology-gdas": "renascent.experiment.recipes.nats_search:gdas",
        "nats-topology-setn": "renascent.experiment.recipes.nats_search:setn",
        "nats-topology-enas": "renascent.experiment.recipes.nats_search:enas",
        "nats-h0": "renascent.experiment.recipes.nats_fit:h0",
        "nats-h1": "renascent.experiment.recipes.nats_fit:h1",
        "nats-h2": "renascent.experiment.recipes.nats_fit:h2",
        "nes-mobilenet-v1": "renascent.experiment.recipes.size_search:nes_mobilenet_v1",
        "nes-mobilenet-v2": "renascent.experiment.recipes.size_search:nes_mobilenet_v2",
        "nes-resnet50": "renascent.experiment.recipes.size_search:nes_resnet50",
        "tas-resnet20": ("renascent.experiment.recipes.size_search:tas_cifar", {"layers_count": 20}),
        "tas-resnet32": ("renascent.experiment.recipes.size_search:tas_cifar", {"layers_count": 32}),
        "tas-resnet56": ("renascent.experiment.recipes.size_search:tas_cifar", {"layers_count": 56}),
        "tas-resnet110": ("renascent.experiment.recipes.size_search:tas_cifar", {"layers_count": 110}),
        "tas-resnet164": ("renascent.experiment.recipes.size_search:tas_cifar", {"layers_count": 164}),
        "tas-resnet18": ("renascent.experiment.recipes.size_search:tas_imagenet", {"layers_count": 18}),
        "tas-resnet50": ("renascent.experiment.recipes.size_search:tas_imagenet", {"layers_count": 50}),
        "nats-size-tas": "renascent.experiment.recipes.size_search:nats_tas",
        "nats-size-fbnetv2": "renascent.experiment.recipes.size_search:nats_fbnetv2",
        "nats-size-tunas": "renascent.experiment.recipes.size_search:nats_tunas",
        "nats-size-tunas-warmup": "renascent.experiment.recipes.size_search:nats_tunas_warmup",
        "tas-cifar": "renascent.experiment.recipes.distilled_fit:cifar",
        "tas-imagenet": "renascent.experiment.recipes.distilled_fit:imagenet",
        "tas-cifar-as-printed": "renascent.experiment.recipes.distilled_fit:cifar_as_printed",
    },
    use=lambda recipe: recipe(),
)
