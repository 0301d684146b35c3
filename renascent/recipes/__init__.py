"""The papers' settings by name: whole searches, and trainings of one network."""

from renascent.recipes import distilled_fit, nats_fit, nats_search, size_search
from renascent.recipes.recipe import Recipe, SearchPart

RECIPES: dict[str, Recipe] = {
    "nats-topology-rsps": nats_search.rsps(),
    "nats-topology-darts": nats_search.darts(),
    "nats-topology-darts-second-order": nats_search.darts_second_order(),
    "nats-topology-gdas": nats_search.gdas(),
    "nats-topology-setn": nats_search.setn(),
    "nats-topology-enas": nats_search.enas(),
    "nats-h0": nats_fit.h0(),
    "nats-h1": nats_fit.h1(),
    "nats-h2": nats_fit.h2(),
    "nes-mobilenet-v1": size_search.nes_mobilenet_v1(),
    "nes-mobilenet-v2": size_search.nes_mobilenet_v2(),
    "nes-resnet50": size_search.nes_resnet50(),
    "tas-resnet20": size_search.tas_cifar(20),
    "tas-resnet32": size_search.tas_cifar(32),
    "tas-resnet56": size_search.tas_cifar(56),
    "tas-resnet110": size_search.tas_cifar(110),
    "tas-resnet164": size_search.tas_cifar(164),
    "tas-resnet18": size_search.tas_imagenet(18),
    "tas-resnet50": size_search.tas_imagenet(50),
    "nats-size-tas": size_search.nats_tas(),
    "nats-size-fbnetv2": size_search.nats_fbnetv2(),
    "nats-size-tunas": size_search.nats_tunas(),
    "nats-size-tunas-warmup": size_search.nats_tunas_warmup(),
    "tas-cifar": distilled_fit.cifar(),
    "tas-imagenet": distilled_fit.imagenet(),
    "tas-cifar-as-printed": distilled_fit.cifar_as_printed(),
}

__all__ = ["RECIPES", "Recipe", "SearchPart"]
