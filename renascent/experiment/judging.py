"""By what the candidates of a search are scored: their accuracy, or their agreement with the model as given."""

from collections.abc import Mapping

from torch import Tensor

from renascent.core.errors import UserError, unknown
from renascent.core.protocols import Family, OneShot, SpaceConfig, Task
from renascent.costs.scaling import is_size_space
from renascent.nets.sizes.resolution import at_resolution
from renascent.results.finish import pretrained_reference
from renascent.tasks.distill import Agreeing

SCORES = ("accuracy", "agreement")
"""What candidates are scored by, by name."""

ACCURACY = SCORES[0]


def judge_of(
    score: str, space: SpaceConfig, strategy: OneShot | Family, task: Task, pretrained: Mapping[str, Tensor] | None
) -> Task | None:
    """Return the task by whose score candidates are chosen: None where that is their accuracy.

    The model as given is the user's own, where it came with weights, or the reference with the `pretrained` ones.
    Raises UserError for another score, and where there is no such model or no search of sizes.
    """
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    if score == ACCURACY:
        return None
    arch = space.reference
    if isinstance(strategy, Family) or arch is None or not is_size_space(space):
        raise UserError("score is agreement, which is for searches of sizes: leave it at accuracy")
    model = space.trained
    if model is None and pretrained and not space.model_fingerprint:
        model = pretrained_reference(space, task, pretrained)
        if model is None:
            raise UserError("`pretrained` are not weights of the reference network, with which to agree")
    if model is None:
        raise UserError(
            "score is agreement, and no trained model is given to agree with: give its weights (`pretrained` of a "
            "space, `weights` of a model of your own), or leave score at accuracy"
        )
    return Agreeing(task, at_resolution(model, arch))
