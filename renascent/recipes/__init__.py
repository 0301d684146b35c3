"""The papers' settings by name: whole searches, and trainings of one network."""

from renascent.recipes import nats_fit, nats_search
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
}

__all__ = ["RECIPES", "Recipe", "SearchPart"]
