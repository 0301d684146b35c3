"""Results that are written and read with the digests of what belongs to them, weights included."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from renascent.core.errors import UserError
from renascent.core.files import Json, write_json
from renascent.core.fingerprint import fingerprint
from renascent.loops.weightsfile import read_weights
from renascent.results.seal import KEY, sealed


def write_sealed(path: Path, facts: Json, *weights: str) -> None:
    """Write a result with the digests of what lies beside it. weights: names of the files that hold tensors of it."""
    held = {name: fingerprint(read_weights(path.parent / name)) for name in weights}
    write_json(path, sealed(facts, path, held))


def read_sealed(path: Path, facts: Json) -> Mapping[str, Tensor]:
    """Return the weights of a result that `check_seal` has passed. Raises UserError for any others."""
    state = read_weights(path)
    if facts.get(KEY, {}).get(path.name, found := fingerprint(state)) != found:
        raise UserError(f"the weights {path} are damaged, or of another run: put them back, or repeat what wrote them")
    return state
