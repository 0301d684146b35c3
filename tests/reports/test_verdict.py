"""One sentence on what a search gained: above random ones by more than their deviation, and above uniform scaling."""

from types import SimpleNamespace as Some

import pytest

from renascent.reports.verdict import verdict


def result(
    own,
    random=(),
    uniform=None,
    magnitude=None,
    *,
    images=(),
    strategy="fbnetv2",
    split="test",
    searched_epochs=0,
    scaled=False,
):
    training = Some(
        scores={split: own},
        random_cells=[Some(scores={split: score}) for score in random],
        random_within={"macs": 1.0},
        random_init="fresh",
        init="fresh",
        uniform=None if uniform is None else Some(scores={split: uniform}),
        magnitude=None if magnitude is None else Some(scores={split: magnitude}),
        by_class={split: Some(images=images)} if images else {},
        searched_epochs=searched_epochs,
        seconds=2.0,
    )
    held = Some(arch="a")
    return Some(
        training=training,
        about=Some(strategy=strategy, search_seconds=10.0, uniform=held, beside=None if scaled else held),
    )


RANDOM = (0.80, 0.84)  # mean 82.00, deviation 2.83


@pytest.mark.parametrize(
    ("own", "random", "uniform", "gained"),
    [
        (0.85, RANDOM, None, True),
        (0.848, RANDOM, None, False),  # above the mean, but by less than the deviation
        (0.80, RANDOM, None, False),
        (0.85, RANDOM, 0.84, True),
        (0.85, RANDOM, 0.85, False),  # uniform scaling has as much
        (0.85, RANDOM, 0.86, False),
        (0.85, (), 0.84, True),
        (0.85, (0.2,), 0.84, True),  # one random network has no deviation
    ],
)
def test_a_gain_is_above_every_baseline(own, random, uniform, gained):
    said = verdict(result(own, random, uniform))
    assert said.startswith("The search gained: " if gained else "The search shows no gain: ")
    assert said.endswith("; it took 10.0 s, 5.00 times training the found network once.")
    assert said.count(" points from ") == (len(random) > 1) + (uniform is not None)


@pytest.mark.parametrize(("other", "gained"), [(0.885, False), (0.87, True)])
def test_a_few_images_more_than_uniform_scaling_are_no_gain(other, gained):
    """Two accuracies near 0.9 of 400 images each differ by sqrt(2 * 0.9 * 0.1 / 400) = 2.1 points, give or take."""
    said = verdict(result(0.9, uniform=other, images=[40] * 10))
    assert ("gained" in said) == gained
    error = 100 * (0.9 * 0.1 / 400 + other * (1 - other) / 400) ** 0.5
    assert f"points from uniform scaling (standard error on 400 images: {error:.2f}); it took" in said


@pytest.mark.parametrize(("pruned", "gained"), [(0.84, True), (0.85, False), (0.86, False)])
def test_a_gain_is_above_magnitude_pruning_where_that_was_trained(pruned, gained):
    said = verdict(result(0.85, uniform=0.84, magnitude=pruned))
    assert said.startswith("The search gained: " if gained else "The search shows no gain: ")
    assert f"+1.00 points from uniform scaling and {85 - 100 * pruned:+.2f} points from magnitude pruning; it" in said


def test_the_sentence_has_the_figures():
    assert verdict(result(0.9, RANDOM, 0.84)) == (
        "The search gained: the result is +8.00 points from the mean of 2 random architectures inside the budget, "
        "trained identically, whose deviation is 2.83, and +6.00 points from uniform scaling; it took 10.0 s, 5.00 "
        "times training the found network once."
    )


def test_without_a_baseline_or_a_search_nothing_is_said():
    assert not verdict(result(0.9))
    assert not verdict(result(0.9, (0.8,)))
    assert not verdict(result(0.9, RANDOM, strategy="uniform"))
    assert not verdict(Some(training=None, about=Some(strategy="fbnetv2")))
    assert not verdict(Some(training=Some(scores={}), about=Some(strategy="fbnetv2")))


def test_a_result_that_scaling_gives_is_no_gain():
    assert verdict(result(0.9, RANDOM, scaled=True)).startswith(
        "The search shows no gain: the result is +8.00 points from the mean of 2 random architectures inside the "
        "budget, trained identically, whose deviation is 2.83, and the network that uniform scaling gives; it took"
    )
    assert "no gain: the result is the network that uniform scaling gives; it took" in verdict(result(0.9, scaled=True))


def test_other_splits_and_searches_that_were_part_of_the_training():
    assert "gained" in verdict(result(0.9, RANDOM, split="val"))
    assert verdict(result(0.9, RANDOM, searched_epochs=3)).endswith("; it took 10.0 s.")
