"""Count the steps of a fine-tune that are still to come, over all its rounds."""

from vivim.finetuning.events import Step


def steps_to_come(step: Step) -> int:
    """Steps after this one in all rounds, or fewer where the last round is shorter than the others."""
    rounds = max(1, step.rounds)
    return step.total - step.step + (rounds - (step.fold or rounds)) * step.total
