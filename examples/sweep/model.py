"""The oldest model of an epidemic: the well meet the ill, fall ill, and recover for good."""


def epidemic(people: int, ill: int, rate: float, recovery: float, days: int) -> list[float]:
    """How many of `people` are ill on each day, the first one included.

    `rate`: whom one ill person would infect in a day if all were well. `recovery`: the part of the ill that a day cures.
    """
    well, sick = float(people - ill), float(ill)
    curve = [sick]
    for _ in range(days):
        infected = min(well, rate * sick * well / people)
        well -= infected
        sick += infected - recovery * sick
        curve.append(round(sick, 3))
    return curve
