"""The cursor: exact resume, every item once an epoch, and nothing shared between seeds."""

import pytest
import torch

from renascent.core.errors import UserError
from renascent.core.protocols import Batch
from renascent.tasks.streams import InOrder, Shuffled, in_chunks


def fetch(indices: torch.Tensor, rng: torch.Generator) -> Batch:
    return indices, torch.rand(len(indices), generator=rng)


def make(items: int = 10, seed: int | tuple[int, ...] = 0, batch: int = 3) -> Shuffled:
    return Shuffled(fetch, torch.arange(100, 100 + items), seed=seed, batch=batch)


def taken(stream: Shuffled, count: int) -> list[tuple[list[int], list[float]]]:
    return [(i.tolist(), noise.tolist()) for i, noise in (stream.next() for _ in range(count))]


def test_an_epoch_has_each_item_at_most_once_and_drops_the_rest():
    stream = make()
    assert stream.steps_per_epoch == 3
    items = [i for batch, _ in taken(stream, 3) for i in batch]
    assert len(set(items)) == 9
    assert set(items) <= set(range(100, 110))


def test_a_whole_number_of_batches_uses_every_item():
    items = [i for batch, _ in taken(make(items=9), 3) for i in batch]
    assert sorted(items) == list(range(100, 109))


def test_epochs_differ():
    first, second = (taken(stream := make(items=50, batch=50), 2)[k] for k in (0, 1))
    assert sorted(first[0]) == sorted(second[0])
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert stream.steps_per_epoch == 1


def test_fewer_items_than_a_batch_is_one_batch_of_all():
    stream = make(items=4, batch=64)
    assert stream.steps_per_epoch == 1
    assert sorted(taken(stream, 1)[0][0]) == [100, 101, 102, 103]


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 7])
def test_a_resumed_stream_goes_on_exactly(stop: int):
    whole = taken(make(), 9)
    stream = make()
    taken(stream, stop)
    other = make()
    taken(other, 5)  # a stream that already ran may be put back, too
    other.load_state_dict(stream.state_dict())
    assert stream.state_dict() == {"given": stop}
    assert taken(other, 9 - stop) == whole[stop:]


def test_seeds_and_parts_of_seeds_change_order_and_noise():
    runs = [taken(make(items=40, batch=40, seed=seed), 1)[0] for seed in (0, 1, (0, 1), (1, 0), 2**40)]
    assert len({tuple(order) for order, _ in runs}) == len(runs)
    assert len({tuple(noise) for _, noise in runs}) == len(runs)


def test_global_randomness_is_neither_used_nor_changed():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = taken(make(), 4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert taken(make(), 4) == first


@pytest.mark.parametrize("state", [{}, {"given": -1}, {"given": "3"}, {"step": 3}])
def test_a_strange_state_is_refused(state: dict[str, object]):
    with pytest.raises(UserError, match="'given': count of batches"):
        make().load_state_dict(state)


def test_seed_and_batch_are_checked():
    with pytest.raises(UserError, match="the seed is -1; give a whole number of at least 0"):
        make(seed=-1)
    with pytest.raises(UserError, match="the batch is 0 images; give at least 1"):
        make(batch=0)


def test_in_order_covers_everything_and_can_be_sliced():
    batches = InOrder(lambda i: (i, -i), in_chunks(torch.arange(7), 3))
    assert [x.tolist() for x, _ in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches[-1][1].tolist() == [-6]
    assert [x.tolist() for x, _ in batches[1:]] == [[3, 4, 5], [6]]
    with pytest.raises(IndexError):
        batches[3]
    with pytest.raises(UserError, match="the batch is -2"):
        in_chunks(torch.arange(7), -2)
