"""A secret in the wrong place is in no message; what a person has mistyped is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainwatt import Site, measure
from trainwatt.errors import ArgumentError
from trainwatt.masking import masked, plain, shown

SECRETS = (
    "em-abc123secret",
    "hf_aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
    "0123456789abcdef0123456789abcdef",
    "xK9mQ2vL8pR4tW7z",
    "secret12345",
)
HARMLESS = (
    *(
        "Frnace",
        "US-CAL-CISO",
        "gcp/europe-west99",
        "azure/southafricanorth",
        "dk3",
        "Bosnia and Herzegowina",
        "",
        "1,5",
    ),
    *(
        "NVIDIA H100 80GB HBM3",
        "GPU-5f1c2a3b-1111-2222-3333-444455556666",
        "MIG-GPU-5f1c2a3b/1/0",
        "cuda:0",
        "gpt2-medium",
    ),
    *(
        "val_loss",
        "train/loss_epoch",
        "2026-11-23T09-30-00",
        "run-17",
        "/scratch/u123456/x9f8e7d6c5b4",
        "~/runs/a1b2c3d4e5",
    ),
)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "arguments",
    [
        lambda secret: {"carbon_intensity": secret},
        lambda secret: {"zone": secret},
        lambda secret: {"cloud": secret},
        lambda secret: {"pue": secret},
        lambda secret: {"zone": "FR", "tariff": (secret, {"token": secret})},
        lambda secret: {"environ": {"TRAINWATT_ZONE": secret}},
        lambda secret: {"environ": {"TRAINWATT_WUE": secret}},
        lambda secret: {"environ": {"TRAINWATT_CARBON_INTENSITY": secret}},
        lambda secret: {"environ": {"TRAINWATT_CONFIG": secret}},
    ],
)
def test_no_setting_shows_a_secret_that_was_given_to_it(secret: str, arguments: Any) -> None:
    with pytest.raises(ArgumentError) as error:
        Site(**{"environ": {}, **arguments(secret)})
    assert secret not in str(error.value) + repr(error.value)
    assert "expected" in str(error.value)


@pytest.mark.parametrize(
    "line", ['zone = "{}"', 'pue = "{}"', 'electricity_token = "{}"', "{} = 1", 'carbon_intensity = "{}"']
)
def test_no_file_shows_a_secret_in_the_wrong_place(line: str, tmp_path: Path) -> None:
    file = tmp_path / "trainwatt.toml"
    file.write_text(line.format("em-abc123secret"))
    with pytest.raises(ArgumentError) as error:
        Site(environ={"TRAINWATT_CONFIG": str(file)})
    assert "em-abc123secret" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["interval", "devices", "scope", "gpus", "run_name", "expected_requests", "project_after"]
)
def test_no_option_shows_a_secret_that_was_given_to_it(name: str) -> None:
    given: Any = ["em-abc123secret"] if name in ("devices", "gpus") else "em-abc123secret"
    if name == "run_name":
        given = "a/em-abc123secret"
    with pytest.raises(ArgumentError) as error:
        measure(zone="FR", output_dir=None, **{name: given})
    assert "em-abc123secret" not in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--pue", "em-abc123secret", "--", "true"],
        ["run", "--zone", "em-abc123secret", "--", "true"],
        ["run", "--carbon-intensity", "em-abc123secret", "--", "true"],
        ["run", "--interval", "em-abc123secret", "--", "true"],
        ["regions", "--token=em-abc123secret"],
        ["em-abc123secret"],
    ],
)
def test_no_command_shows_a_secret_that_was_given_to_it(words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainwatt", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "abc123secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("text", HARMLESS)
def test_what_a_person_may_have_mistyped_is_shown(text: str) -> None:
    assert shown("zone", text) == repr(text)


@pytest.mark.parametrize("value", [None, True, 5, 1.5, float("nan"), [], (), {}, Path("runs")])
def test_other_values_are_shown_as_they_are(value: object) -> None:
    assert shown("pue", value) == repr(value)


def test_the_value_of_a_variable_that_holds_a_secret_is_never_shown() -> None:
    for name in ("TRAINWATT_ELECTRICITYMAPS_TOKEN", "api_key", "/etc/trainwatt.toml: electricitymap_token", "password"):
        assert "FR" not in shown(name, "FR")
    assert shown("/home/secretary/trainwatt.toml: zone", "Frnace") == "'Frnace'"


def test_an_object_that_has_no_text_is_shown_by_its_class() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

        def __bool__(self) -> bool:
            raise RuntimeError

    assert shown("zone", Odd()) == "<Odd>"
    assert len(shown("zone", ["word " * 1000])) < 300


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:pass@host/x?zone=FR&key=abc", "https://***@host/x?zone=***&key=***"),
        ("Invalid header value b'ab\\n' of auth-token: ab", "Invalid header value b'ab\\n' of auth-token: ***"),
        ("Authorization: Bearer abc.def-ghi, next", "Authorization: ***, next"),
        ("ElectricityMaps(token='a b', zone='FR')", "ElectricityMaps(token=***, zone='FR')"),
        ("hf_abcdefghijkl is wrong", "*** is wrong"),
        ("GPU-5f1c2a3b-1111-2222-3333-444455556666 is lost", "GPU-5f1c2a3b-1111-2222-3333-444455556666 is lost"),
        ("[Errno 111] Connection refused", "[Errno 111] Connection refused"),
    ],
)
def test_secrets_in_any_text_are_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_a_known_secret_is_masked_wherever_it_stands() -> None:
    assert masked("it is tulip, 'tulip\\n', abc", ["tulip", "tulip\n", "abc"]) == "it is ***, '***', abc"


def test_a_message_of_words_keeps_them() -> None:
    message = "argument --pue: invalid float value: '{}'"
    assert plain(message.format("1.5x")) == message.format("1.5x")
    assert plain(message.format("em-abc123secret")) == message.format("***")
