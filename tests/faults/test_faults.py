"""The short form of the faults: some of each kind, and nothing lost, doubled or wrong."""

import pytest

from tests.faults import clocks, damage, disks, fetches, kills, stores
from tests.faults.clocks import Jumps
from tests.faults.damage import Damage
from tests.faults.kills import AFTER, BEFORE, WITHIN, Kill
from tests.faults.stores import Flaky
from tests.faults.story import DAY, RESTATED, Undisturbed, prepared
from tests.support.object_store import object_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store():
    with pytest.MonkeyPatch.context() as patch, object_store(patch) as store:
        yield store


# After the store, whose environment the fork server and its children take over.
@pytest.fixture(scope="module")
def undisturbed(store, tmp_path_factory):
    assert store.names() == []
    scratch = tmp_path_factory.mktemp("faults")
    return Undisturbed(prepared(scratch / "base"), scratch)


def assert_unharmed(outcome):
    assert not outcome.difference, (outcome.name, outcome.difference)


KILLS = [
    pytest.param(Kill(DAY, 0, commit=0, when=WITHIN), marks=pytest.mark.long),
    pytest.param(Kill(RESTATED, 1, commit=1, when=BEFORE), marks=pytest.mark.long),
    Kill(RESTATED, 2, commit=0, when=AFTER, then="next"),
]


@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_a_command_that_is_killed_loses_nothing(kill, undisturbed, tmp_path):
    outcome = kills.suffer(kill, undisturbed, tmp_path / "work")
    assert outcome.struck
    assert_unharmed(outcome)


@pytest.mark.long
def test_a_fetch_that_is_killed_within_a_commit_loses_nothing(tmp_path):
    pytest.importorskip("baostock")
    with fetches.vendor() as port:
        undisturbed = fetches.undisturbed(port, tmp_path)
        outcome = kills.suffer(Kill(fetches.FETCH, 0, commit=2, when=WITHIN), undisturbed, tmp_path / "work")
    assert outcome.struck
    assert_unharmed(outcome)
    held = {table: len(rows) for table, rows in undisturbed.tables[fetches.FETCH].items()}
    assert all(held.values())
    # Both months' members, and so a symbol whose bars were all new.
    assert held["members"] == 6


def test_a_command_that_cannot_write_refuses_and_goes_on_later(undisturbed, tmp_path):
    outcome = disks.suffer(disks.FullDisk(DAY, 2, 4096), undisturbed, tmp_path / "work", limit_files=True)
    assert outcome.struck
    assert_unharmed(outcome)


@pytest.mark.long
def test_a_day_on_a_store_that_closes_connections(store, undisturbed, tmp_path):
    assert_unharmed(stores.suffer(Flaky(DAY, 1, "refused", 6), undisturbed, tmp_path / "work", store))


def test_a_day_whose_clock_jumps(undisturbed, tmp_path):
    jumps = Jumps(RESTATED, (-400.0, 3.5, -0.04, 30.0), 0.04)
    assert_unharmed(clocks.suffer(jumps, undisturbed, tmp_path / "work"))


DAMAGE = [
    Damage("bars", "newest data file", "flipped at a half"),
    Damage("matches", "folder", "deleted"),
]


@pytest.mark.parametrize("fault", DAMAGE, ids=str)
def test_damage_is_told_and_healed_by_what_is_said(fault, undisturbed, tmp_path):
    assert_unharmed(damage.suffer(fault, undisturbed, tmp_path / "work"))
