import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core._hashing import mix64, text_hash

WORDS = st.integers(0, 2**64 - 1)


def plain_mix64(x):
    """SplitMix64's `next` from the state x, in Python integers."""
    mask = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def test_the_published_answers_of_splitmix64():
    # The generator's first numbers from the seeds 0 and 1234567, as its reference program prints them.
    steps = np.arange(5, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mix64(steps[:3]).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert mix64(np.uint64(1234567) + steps).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@pytest.mark.slow
@given(st.lists(WORDS, max_size=20))
def test_mix64_equals_whole_numbers_and_leaves_its_input(words):
    given_words = np.array(words, dtype=np.uint64)
    mixed = mix64(given_words)
    assert mixed.dtype == np.uint64
    assert mixed.tolist() == [plain_mix64(word) for word in words]
    assert given_words.tolist() == words


# Written once: tables hold numbers made of these.
@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 13020603013274838756),
        ("AAPL", 17648410629993613931),
        ("600519.SH", 6459609386726449555),
        ("平安", 9593666456729940132),
    ],
)
def test_text_hash_is_the_same_everywhere(text, number):
    assert text_hash(text) == number
