"""A folder with an encoder for each year: what it may hold, and what may mix up years."""

import json
import shutil

import numpy as np
import pytest

from kline_core.encoder.weights import weights_fingerprint
from kline_core.encoder.year_folder import YearFolder, one_encoder, stored_under
from kline_core.errors import EncoderError
from kline_core.settings import Settings
from tests.support.homes import write_encoder
from tests.support.years import write_years


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_years(tmp_path_factory.mktemp("weights") / "years", {2020: 1, 2021: 2, 2022: 3})


@pytest.fixture
def years(made, tmp_path):
    return shutil.copytree(made, tmp_path / "years")


def test_years_have_the_encoders_of_their_files(years):
    (years / "2021.json").write_text(json.dumps({"fingerprint": weights_fingerprint(years / "2021.safetensors")}))
    # None of these is taken for an encoder, and none does harm.
    for name in ("notes.txt", "study.json", ".half.safetensors"):
        (years / name).write_text("")
    folder = YearFolder.of(years)
    assert folder.fingerprints == {y: weights_fingerprint(years / f"{y}.safetensors") for y in (2020, 2021, 2022)}
    for day, year in (("2011-05-05", 2020), ("2020-12-31", 2020), ("2021-01-01", 2021), ("2030-01-01", 2022)):
        assert folder.on(np.datetime64(day)) == years / f"{year}.safetensors"
    values = stored_under(Settings(), years)
    assert dict(values.by_year) == {
        y: stored_under(Settings(), years / f"{y}.safetensors") for y in folder.fingerprints
    }


def test_a_file_and_the_default_encoder_are_no_folder(years):
    assert YearFolder.of(None) is YearFolder.of(years / "2021.safetensors") is None
    assert YearFolder.of(years / "missing") is YearFolder.of("x" * 5000) is None
    assert one_encoder(years / "2021.safetensors", "this") == years / "2021.safetensors"
    with pytest.raises(EncoderError, match=r"years is a folder, and a plan takes one encoder; name one of its files"):
        one_encoder(years, "a plan")


def gap(years):
    (years / "2021.safetensors").unlink()


def lost(years):
    (years / "2023.json").write_text("{}")


def unnamed(years):
    (years / "2021.safetensors").rename(years / "best.safetensors")


def early(years):
    write_encoder(years / "2021.safetensors", 2, trained_through="2021-01-01")


def twice(years):
    shutil.copyfile(years / "2021.safetensors", years / "2022.safetensors")


def wide(years):
    write_encoder(years / "2022.safetensors", 3, dim=9, trained_through="2021-12-31")


def long(years):
    write_encoder(years / "2022.safetensors", 3, window_bars=6, trained_through="2021-12-31")


def strange(years):
    (years / "2021.json").write_text('{"fingerprint": "0123456789abcdef"}')


def broken(years):
    (years / "2021.json").write_text("{")


def listed(years):
    (years / "2021.json").write_text("[]")


def cut(years):
    (years / "2021.safetensors").write_bytes(b"short")


def empty(years):
    for file in years.iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (gap, r"2021.safetensors is missing, and there are 2020 to 2022; make it with `kline train --market --out .*"),
        (lost, r"2023.json is the card of weights that are not there; put 2023.safetensors back, or remove it"),
        (unnamed, r"best.safetensors is named by no year, as .*years has them: 2021.safetensors; keep it elsewhere"),
        (early, r"2021.safetensors was trained through 2021-01-01, which is not before 2021; name it by a later year"),
        (twice, r"2022.safetensors holds the weights of 2021; train it again"),
        (wide, r"2022.safetensors has dim 9, and that of 2020 8; train them alike"),
        (long, r"2022.safetensors has window_bars 6, and that of 2020 5; train them alike"),
        (
            strange,
            r"2021.json is the card of fingerprint '0123456789abcdef', and 2021.safetensors has",
        ),
        (broken, r"2021.json cannot be read \(.*\); put back what `kline train --market` wrote, or remove it"),
        (listed, r"2021.json is the card of fingerprint \[\], and 2021.safetensors has"),
        (cut, r"encoder weights .*2021.safetensors cannot be read"),
        (empty, r"folder .*years holds no encoder of a year, such as 2021.safetensors; make some with `kline train"),
    ],
)
def test_what_may_mix_up_years_is_refused_by_name(years, harm, said):
    harm(years)
    with pytest.raises(EncoderError, match=said):
        YearFolder.of(years)


def test_a_folder_that_cannot_be_listed_is_said(years):
    with pytest.raises(EncoderError, match=r"encoders .*missing cannot be listed \(.*\); name a folder that"):
        YearFolder.read(years / "missing")
