"""How long a fine-tune will take, told from its steps."""

from __future__ import annotations

from vivim.finetuning.events import Step

from napari_vivim.widgets.finetune_eta import Pace


def steps(rounds: int, last: int, total: int = 20):
    for fold in [*range(1, rounds), 0]:
        count = total if fold else last
        yield from (Step(step, count, 1.0, fold, rounds) for step in range(1, count + 1))


def test_time_left_counts_all_rounds() -> None:
    clock = iter(range(1000))
    pace = Pace(lambda: next(clock))
    said = [pace.taken(step) for step in steps(4, 20)]
    assert said[0] == (1, 80, None)
    assert [(done, total) for done, total, _ in said] == [(i, 80) for i in range(1, 81)]
    assert all(left == 80 - done for done, _, left in said[1:])  # one second a step


def test_a_shorter_last_round_is_met_when_it_comes() -> None:
    clock = iter(range(1000))
    pace = Pace(lambda: next(clock))
    *_, before, last = [pace.taken(step) for step in steps(4, 10)]
    assert before == (69, 70, 1.0) and last == (70, 70, 0.0)


def test_a_server_that_does_not_say_how_many_rounds_there_are() -> None:
    pace = Pace(iter((0.0, 1.0, 2.0)).__next__)
    pace.taken(Step(1, 20, 1.0, 1))
    assert pace.taken(Step(2, 20, 1.0, 1))[:2] == (2, 20)
