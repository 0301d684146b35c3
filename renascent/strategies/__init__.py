"""Search strategies by name: frozen dataclasses of hyperparameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from renascent.core.names import Names
from renascent.core.outside import Others

if TYPE_CHECKING:
    from renascent.core.protocols import Family, OneShot

GROUP = "renascent.strategies"
"""Of the entry points by which other packages add strategies, those that ask and tell included."""

ONE_SHOT, FAMILY = ("init", "step", "derive", "probabilities"), ("family",)
"""What a class has to have: the methods of `OneShot`, and of `Family`."""

STRATEGIES: Names[type[OneShot]] = Names(
    {
        "rsps": "renascent.strategies.rsps:RSPS",
        "darts": "renascent.strategies.darts:DARTS",
        "darts-second-order": "renascent.strategies.darts:DARTSSecondOrder",
        "gdas": "renascent.strategies.gdas:GDAS",
        "setn": "renascent.strategies.setn:SETN",
        "enas": "renascent.strategies.enas:ENAS",
        "nes": "renascent.strategies.nes:NES",
        "tas": "renascent.strategies.tas:TAS",
        "fbnetv2": "renascent.strategies.fbnetv2:FBNetV2",
        "tunas": "renascent.strategies.tunas:TuNAS",
        "proxyless": "renascent.strategies.proxyless:Proxyless",
        "proxyless-reinforce": "renascent.strategies.proxyless_reinforce:ProxylessReinforce",
        "dso-nas": "renascent.strategies.dsonas:DSONAS",
        "bayesnas": "renascent.strategies.bayesnas:BayesNAS",
    },
    others=Others("strategy", GROUP, (ONE_SHOT,)),
)

FAMILIES: Names[type[Family]] = Names(
    {
        "uniform": "renascent.strategies.uniform:Uniform",
        "magnitude": "renascent.strategies.magnitude:Magnitude",
    },
    others=Others("strategy", GROUP, (FAMILY,)),
)
"""What needs no search: the reference network made smaller by a rule of one parameter."""

NAMED: Names[type[OneShot | Family]] = Names(
    {**STRATEGIES.places, **FAMILIES.places}, others=Others("strategy", GROUP, (ONE_SHOT, FAMILY))
)
"""All that `search` takes by name."""
