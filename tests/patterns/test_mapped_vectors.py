import numpy as np
import pytest

from kline_core.patterns.mapped_vectors import MappedVectors
from kline_core.store.mapping import map_file

COUNT, HAD = 40, 25


@pytest.fixture
def both(tmp_path):
    """The same vectors in memory and mapped."""
    vectors = np.random.default_rng(0).standard_normal((COUNT, 3)).astype(np.float32)
    (tmp_path / "vectors").write_bytes(vectors[:HAD].tobytes())
    mapped = map_file(tmp_path / "vectors").view("<f4").reshape(HAD, 3)
    return vectors, MappedVectors(mapped, vectors[HAD:HAD]).followed_by(vectors[HAD:])


@pytest.mark.parametrize(
    "at",
    [
        *(slice(None), slice(0, 10), slice(20, 30), slice(30, 100), slice(25, 25), slice(None, None, 7), slice(3, 3)),
        *(slice(-5, None), np.array([0, 39, 24, 25, 3, 3, -1, -40]), np.zeros(0, dtype=np.int64)),
    ],
)
def test_reads_what_numpy_reads(both, at):
    vectors, mapped = both
    found = mapped[at]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors[at])


def test_shape_and_size(both):
    vectors, mapped = both
    assert (len(mapped), mapped.shape, mapped.nbytes, mapped.dtype) == (40, (40, 3), vectors.nbytes, vectors.dtype)
    assert np.array_equal(np.concatenate(mapped.parts), vectors)


def test_what_follows_leaves_the_earlier_ones_as_they_were(both):
    vectors, mapped = both
    longer = mapped.followed_by(vectors[:2])
    assert (len(mapped), len(longer)) == (40, 42)
    np.testing.assert_array_equal(longer[38:], np.concatenate([vectors[38:], vectors[:2]]))
    assert longer.mapped is mapped.mapped
    assert not longer.later.flags.writeable
