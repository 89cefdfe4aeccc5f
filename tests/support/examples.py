"""How many examples of a property are drawn."""

from hypothesis import settings


def examples(count: int) -> int:
    """Examples of a property that has `count` where others have 50; by the profile `thorough` it has 20 times as many.

    For properties whose examples cost much, or little.
    """
    return max(1, round(count * settings.default.max_examples / 50))
