"""How many steps of a fine-tune are still to come."""

from __future__ import annotations

from vivim.finetuning.events import Step


def steps(rounds: int, last: int, total: int = 20):
    for fold in [*range(1, rounds), 0]:
        count = total if fold else last
        yield from (Step(step, count, 1.0, fold, rounds) for step in range(1, count + 1))


def test_all_rounds_are_counted() -> None:
    assert [step.steps_left for step in steps(4, 20)] == list(range(79, -1, -1))


def test_a_shorter_last_round_is_met_when_it_comes() -> None:
    *_, before, last = [step.steps_left for step in steps(4, 10)]
    assert (before, last) == (1, 0)


def test_a_server_that_does_not_say_how_many_rounds_there_are() -> None:
    assert Step(2, 20, 1.0, 1).steps_left == 18
