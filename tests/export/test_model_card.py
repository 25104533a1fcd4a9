from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st

from tests.export.runs import summary_at
from trainwatt.export import card_with, co2_eq_emissions, write_card
from trainwatt.site import Site

EMISSIONS = {"emissions": 501.48, "source": "trainwatt", "hardware_used": "8 x NVIDIA H100"}
CARD = """---
# a comment that must stay
license: apache-2.0   # and this one
language:
- en
- fr
tags: [a, "b: c"]
widget:
  - text: |
      ---
      co2_eq_emissions: not this one
extra: {name: x,
  results: []
}
"quoted key": yes
---

# A model

---

Its text, with co2_eq_emissions: 5.
"""


def test_the_metadata_is_what_the_hub_asks_for(summary: dict[str, Any]) -> None:
    emissions = co2_eq_emissions(summary, "fine-tuning")
    assert emissions["emissions"] == pytest.approx(10 * 1.2 * 41.79)
    assert emissions["training_type"] == "fine-tuning"
    assert emissions["geographical_location"] == "France"
    assert emissions["hardware_used"] == "8 x NVIDIA H100 80GB HBM3, 1 x AMD EPYC 9654"
    assert "90% measured" in str(emissions["source"])
    assert "Ember via Our World in Data (May 2026 copy) 2025" in str(emissions["source"])
    assert "PUE 1.2" in str(emissions["source"])


def test_what_is_not_known_is_left_out_and_a_guess_is_named() -> None:
    assert set(co2_eq_emissions(summary_at(Site(zone="WORLD", environ={})))) == {"emissions", "source", "hardware_used"}
    guessed = summary_at(Site(environ={"TZ": "Europe/Paris"}))
    if guessed["site"]["zone"] == "FR":  # where the system has a table of time zones
        assert "guessed" in str(co2_eq_emissions(guessed)["geographical_location"])


def test_nothing_but_the_one_key_is_touched() -> None:
    card = card_with(CARD, EMISSIONS)
    head, tail = CARD.split("---\n\n# A model")
    entry = 'co2_eq_emissions:\n  emissions: 501.48\n  source: "trainwatt"\n  hardware_used: "8 x NVIDIA H100"\n'
    assert card == f"{head}{entry}---\n\n# A model{tail}"
    data = ModelCard(card).data.to_dict()
    assert data.pop("co2_eq_emissions") == EMISSIONS
    assert data == ModelCard(CARD).data.to_dict()
    assert ModelCard(card).text == ModelCard(CARD).text


def test_the_hub_reads_what_was_written(tmp_path: Path, summary: dict[str, Any]) -> None:
    file = tmp_path / "README.md"
    file.write_text(CARD)
    file.chmod(0o640)
    write_card(file, co2_eq_emissions(summary))
    write_card(file, co2_eq_emissions(summary))
    assert ModelCard.load(file).data.co2_eq_emissions == co2_eq_emissions(summary) | {"emissions": 501.48}
    assert file.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "old",
    [
        "co2_eq_emissions: 5\n",
        "co2_eq_emissions:\n  emissions: 5\n  source: somebody\n\n  training_type: x\n",
        "'co2_eq_emissions' : {emissions: 5,\n  source: x}\n",
        '"co2_eq_emissions":\n  # why\n  emissions: 5\n',
        "co2_eq_emissions:\n- 5\n- 6\n",
    ],
)
def test_an_old_value_is_replaced_in_its_place(old: str, newline: str) -> None:
    before, after = "---\nlicense: mit\n", "# the rest\ntags: [a]\n---\nText\n"
    card = card_with((before + old + after).replace("\n", newline), EMISSIONS)
    assert card.startswith(before.replace("\n", newline) + "co2_eq_emissions:" + newline)
    assert card.endswith(after.replace("\n", newline))
    assert yaml.safe_load(card.split(f"---{newline}")[1]) == {
        "license": "mit",
        "co2_eq_emissions": EMISSIONS,
        "tags": ["a"],
    }
    assert "\n" not in card.replace(newline, "")


@pytest.mark.parametrize("card", ["", "# A model\n", "Text\n---\nmore\n", "\r\nText\r\n"])
def test_a_card_without_metadata_gets_some_before_its_text(card: str) -> None:
    new = card_with(card, EMISSIONS)
    assert new.endswith(card)
    assert ModelCard(new).data.co2_eq_emissions == EMISSIONS


def test_empty_metadata_is_filled() -> None:
    assert yaml.safe_load(card_with("---\n---\nText\n", EMISSIONS).split("---\n")[1]) == {"co2_eq_emissions": EMISSIONS}
    assert card_with("---\n---\nText\n", EMISSIONS).endswith("---\nText\n")


@pytest.mark.parametrize(
    "metadata",
    [
        "{license: mit}\n",
        "co2_eq_emissions: 5\nco2_eq_emissions: 6\n",
        "just a text between two rules\n",
        "- a\nno list\n",
        "? complex\n: key\n",
    ],
)
def test_metadata_that_cannot_be_changed_safely_is_left_alone(metadata: str, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    card = f"---\n{metadata}---\nText\n"
    file.write_text(card)
    with pytest.raises(ValueError, match="co2_eq_emissions by hand"):
        write_card(file, EMISSIONS)
    assert file.read_text() == card


def test_a_card_that_is_not_there_is_made(tmp_path: Path) -> None:
    write_card(tmp_path / "README.md", EMISSIONS)
    assert ModelCard.load(tmp_path / "README.md").data.co2_eq_emissions == EMISSIONS


@given(st.floats(0, 1e12, allow_nan=False), st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
def test_any_number_and_any_text_come_back_as_they_were(grams: float, text: str) -> None:
    card = card_with("", {"emissions": grams, "source": text})
    data = yaml.safe_load(card.split("---\n")[1])["co2_eq_emissions"]
    assert isinstance(data["emissions"], (int, float))
    assert data["emissions"] == pytest.approx(grams, rel=1e-5)
    assert data["source"] == "".join(each if each.isprintable() else " " for each in text)


KEYS = st.from_regex(r"[a-z][a-z_-]{0,8}", fullmatch=True).filter(lambda key: key != "co2_eq_emissions")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii"), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=5), st.text(st.characters(codec="ascii"), max_size=50))
def test_any_card_keeps_everything_else(data: dict[str, Any], text: str) -> None:
    body = text.replace("\r", "")
    card = f"---\n{yaml.safe_dump(data, sort_keys=False)}---\n{body}"
    new = card_with(card, EMISSIONS)
    again = card_with(new, {"emissions": 7.0})
    head = new[: -len(body)] if body else new
    assert new.endswith("---\n" + body)
    assert yaml.safe_load(head.removeprefix("---\n").removesuffix("---\n")) == {**data, "co2_eq_emissions": EMISSIONS}
    assert card_with(again, EMISSIONS) == new
