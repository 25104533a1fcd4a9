from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.reporting.html.pages import Page, loads
from tests.reporting.html.runs import HOSTILE, killed, trained
from trainwatt import measure, read_run
from trainwatt.records.run_folder import read_events
from trainwatt.reporting.html import comparison_page, run_page, write_report
from trainwatt.reporting.html.display_units import thinned

PARTS = [
    "Power over time",
    "Energy by phase and device",
    "Projected and actual energy",
    "val_acc against energy",
    "val_loss against energy",
    "Footprint",
    "The same run on other grids",
    "Factors",
    "How to cite this run",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("footprint"), "a run")


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def sound(page: Page) -> None:
    assert page.wrong == []
    assert len(set(page.ids)) == len(page.ids)
    named = {attributes.get("aria-labelledby") for _, attributes in page.elements} - {None}
    assert named <= set(page.ids)


def test_a_run_leaves_a_report_in_its_folder(page: Page) -> None:
    sound(page)
    headings = [text for text in page.texts if text in PARTS]
    assert headings == PARTS


def test_it_tells_what_the_summary_tells(folder: Path, page: Page) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    for told in ("a run", "Finished", "France", "epoch", "estimated", "90 %", "\\textsubscript"):
        assert told in page.text
    for device in summary["devices"]:
        assert device["name"] in page.text
    for factor in summary["footprint"]["factors"]:
        assert factor["source"] in page.text
        assert factor["year"] in page.text


def test_it_loads_nothing_from_anywhere(page: Page) -> None:
    assert loads(page) == []
    (policy,) = [each["content"] for each in page.of("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy).startswith("default-src 'none'")


def test_each_picture_says_in_words_what_it_shows_and_each_table_what_it_is(page: Page) -> None:
    pictures = [each for each in page.of("div") if each.get("class") == "chart"]
    assert {each["id"] for each in pictures} == set(page.charts)
    assert all(each["role"] == "img" and len(str(each["aria-label"])) > 40 for each in pictures)
    assert len(page.of("caption")) == len(page.of("table"))
    assert all(each.get("scope") in ("col", "row") for each in page.of("th"))


def test_the_area_under_the_power_is_the_energy_of_each_phase(folder: Path, page: Page) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    rows = page.charts["power"]["data"]["values"]
    drawn_j = sum(row["watts"] * (row["to"] - row["from"]) for row in rows)
    assert drawn_j == pytest.approx(summary["total_j"], rel=0.05)
    assert {row["phase"] for row in rows} <= {phase.replace("_", " ") for phase in summary["phases"]}
    assert rows[-1]["to"] == pytest.approx(summary["seconds"], rel=0.01)


def test_the_bars_add_up_to_the_energy(folder: Path, page: Page) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    chart = page.charts["energy"]
    unit_j = {"J": 1.0, "Wh": 3600.0}[chart["layer"][0]["encoding"]["x"]["title"]]
    assert sum(row["energy"] for row in chart["data"]["values"]) * unit_j == pytest.approx(summary["total_j"], rel=1e-3)


def test_the_green_stop_is_where_it_fell(folder: Path, page: Page) -> None:
    (stop,) = [event for event in read_events(folder) if event["event"] == "verdict" and event["stop"]]
    assert f"Stopped at {stop['at']}: {stop['reason']}" in page.text
    chart = json.dumps(page.charts["metric-0"])
    assert f"stopped at {stop['at']}" in chart


def test_further_points_cost_more(page: Page) -> None:
    costs = [row["cost"] for row in page.charts["marginal-cost-0"]["data"]["values"]]
    assert costs[-1] > 10 * costs[0]


def test_the_own_place_stands_among_the_others(page: Page) -> None:
    rows = page.charts["regions"]["data"]["values"]
    assert [row["place"] for row in rows if row["own"]] == ["France"]
    central = [row["central"] for row in rows]
    assert central == sorted(central)
    assert "Poland" in page.text


def test_what_was_never_told_has_no_part(tmp_path: Path) -> None:
    with measure(carbon_intensity=50, output_dir=tmp_path, run_name="plain", verbose=False):
        sum(range(10**5))
    page = Page((tmp_path / "plain" / "report.html").read_text(encoding="utf-8"))
    sound(page)
    for absent in ("Projected and actual energy", "against energy", "The same run on other grids"):
        assert absent not in page.text
    assert "Footprint" in page.text


def test_a_killed_run_has_a_report_that_says_so(tmp_path: Path) -> None:
    run = read_run(killed(trained(tmp_path, "lost")))
    assert run.status == "killed"
    page = Page(run_page(run))
    sound(page)
    assert "This run was killed." in page.text
    for there in ("Power over time", "val_acc against energy", "Energy by phase"):
        assert there in page.text
    assert "How to cite this run" not in page.text


def test_names_from_outside_are_shown_and_never_run(tmp_path: Path) -> None:
    folder = trained(tmp_path, "x", metric=HOSTILE)
    summary = json.loads((folder / "summary.json").read_text())
    summary["run"] = summary["devices"][0]["name"] = summary["devices"][0]["source"] = HOSTILE
    summary["missing"] = [{"kind": "gpu", "source": HOSTILE, "why": HOSTILE, "remedy": HOSTILE}]
    (folder / "summary.json").write_text(json.dumps(summary))
    run = read_run(folder)
    assert run.name == HOSTILE
    for text in (run_page(run), comparison_page([run, run])):
        page = Page(text)
        sound(page)
        assert "<script>alert" not in text
        assert page.charts
        assert HOSTILE in page.text or " ".join(HOSTILE.split()) in page.text


def test_a_folder_that_cannot_be_reported_on_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_report(tmp_path / "nowhere")
    assert "the report could not be written" in caplog.text


def test_few_enough_are_drawn_and_the_extremes_among_them() -> None:
    values = np.random.default_rng(0).normal(size=100_000)
    kept = thinned(values, 400)
    assert len(kept) <= 402
    assert {0, len(values) - 1, int(values.argmin()), int(values.argmax())} <= set(kept.tolist())
    assert thinned(values[:10], 400).tolist() == list(range(10))


def test_parts_of_ones_own_have_a_table(tmp_path: Path) -> None:
    with measure(zone="FR", output_dir=tmp_path, run_name="run", verbose=False, devices=["ram"]) as run:
        for _ in run.epochs(2):
            for name in ("augmentation", HOSTILE):
                with run.part(name):
                    sum(range(20_000))
    page = Page((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    sound(page)
    assert "Energy by part, included in its phase" in page.text
    assert "augmentation train 2 " in page.text
    assert " ".join(HOSTILE.split()) in page.text
    assert "Energy by part" not in Page((trained(tmp_path, "plain") / "report.html").read_text(encoding="utf-8")).text
