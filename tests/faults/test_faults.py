"""The short form of the faults: some of each kind, and nothing lost, doubled or wrong."""

import pytest

from tests.faults import damage, disks, kills
from tests.faults.damage import Damage
from tests.faults.kills import AFTER, BEFORE, WITHIN, Kill
from tests.faults.story import DAY, RESTATED, Undisturbed, prepared

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("faults")
    return Undisturbed(prepared(scratch / "base"), scratch)


def assert_unharmed(outcome):
    assert not outcome.difference, (outcome.name, outcome.difference)


KILLS = [
    Kill(DAY, 0, commit=0, when=WITHIN),
    Kill(RESTATED, 1, commit=1, when=BEFORE),
    Kill(RESTATED, 2, commit=0, when=AFTER, then="next"),
]


@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_a_command_that_is_killed_loses_nothing(kill, undisturbed, tmp_path):
    outcome = kills.suffer(kill, undisturbed, tmp_path / "work")
    assert outcome.struck
    assert_unharmed(outcome)


def test_a_command_that_cannot_write_refuses_and_goes_on_later(undisturbed, tmp_path):
    outcome = disks.suffer(disks.FullDisk(DAY, 2, 4096), undisturbed, tmp_path / "work", limit_files=True)
    assert outcome.struck
    assert_unharmed(outcome)


DAMAGE = [
    Damage("bars", "newest data file", "flipped at a half"),
    Damage("matches", "folder", "deleted"),
]


@pytest.mark.parametrize("fault", DAMAGE, ids=str)
def test_damage_is_told_and_healed_by_what_is_said(fault, undisturbed, tmp_path):
    assert_unharmed(damage.suffer(fault, undisturbed, tmp_path / "work"))
