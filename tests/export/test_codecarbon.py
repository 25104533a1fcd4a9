from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.export.runs import summary_at
from trainwatt.export import append_emissions, emissions_row
from trainwatt.site import Site

# the first line of a file written by codecarbon 3.3.2
HEADER = (
    "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,"
    "cpu_energy,gpu_energy,ram_energy,energy_consumed,water_consumed,country_name,country_iso_code,region,"
    "cloud_provider,cloud_region,os,python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,"
    "longitude,latitude,ram_total_size,tracking_mode,cpu_utilization_percent,gpu_utilization_percent,"
    "ram_utilization_percent,ram_used_gb,on_cloud,pue,wue"
)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_a_new_file_has_codecarbons_columns_in_their_order(tmp_path: Path, summary: dict[str, Any]) -> None:
    file = tmp_path / "emissions.csv"
    append_emissions(file, emissions_row(summary))
    assert file.read_text().splitlines()[0] == HEADER
    append_emissions(file, emissions_row(summary, "mine"))
    assert [row["project_name"] for row in rows(file)] == ["trainwatt", "mine"]


def test_its_figures_are_in_codecarbons_units_and_add_up(tmp_path: Path, summary: dict[str, Any]) -> None:
    file = tmp_path / "emissions.csv"
    append_emissions(file, emissions_row(summary))
    (row,) = rows(file)
    assert float(row["duration"]) == 7200
    assert float(row["energy_consumed"]) == pytest.approx(12.0)  # kWh with the facility's overhead, as CodeCarbon's
    parts = [float(row[f"{kind}_energy"]) for kind in ("cpu", "gpu", "ram")]
    assert sum(parts) == pytest.approx(float(row["energy_consumed"]))
    assert float(row["gpu_power"]) * 7200 / 3.6e6 == pytest.approx(float(row["gpu_energy"]))
    assert float(row["emissions"]) == pytest.approx(12 * 0.04179)  # kg
    assert float(row["emissions_rate"]) == pytest.approx(float(row["emissions"]) / 7200)
    assert (row["country_name"], row["country_iso_code"], row["on_cloud"]) == ("France", "FRA", "N")
    assert (row["gpu_count"], row["gpu_model"]) == ("8", "8 x NVIDIA H100 80GB HBM3")
    assert (row["pue"], row["wue"]) == ("1.2", "0.0")
    assert row["latitude"] == row["longitude"] == row["cpu_utilization_percent"] == ""


@pytest.mark.parametrize(
    ("site", "cells"),
    [
        ({"cloud": "aws/us-east-1"}, ("United States", "USA", "virginia", "aws", "us-east-1", "Y")),
        ({"zone": "WORLD"}, ("", "", "", "", "", "N")),
        ({"zone": "NA"}, ("Namibia", "NAM", "", "", "", "N")),
    ],
)
def test_a_place_is_told_as_codecarbon_tells_it(tmp_path: Path, site: dict[str, str], cells: tuple[str, ...]) -> None:
    append_emissions(tmp_path / "e.csv", emissions_row(summary_at(Site(**site, environ={}))))
    (row,) = rows(tmp_path / "e.csv")
    columns = ("country_name", "country_iso_code", "region", "cloud_provider", "cloud_region", "on_cloud")
    assert tuple(row[column] for column in columns) == cells


def test_a_file_whose_columns_are_in_another_order_keeps_it(tmp_path: Path, summary: dict[str, Any]) -> None:
    file = tmp_path / "emissions.csv"
    file.write_text(",".join(reversed(HEADER.split(","))) + "\n")
    append_emissions(file, emissions_row(summary))
    (row,) = rows(file)
    assert row["project_name"] == "trainwatt"
    assert file.read_text().splitlines()[1].startswith("0.0,1.2,N,")


def test_a_file_with_other_columns_is_set_aside_and_never_overwritten(tmp_path: Path, summary: dict[str, Any]) -> None:
    file = tmp_path / "emissions.csv"
    for old in ("a,b\n1,2\n", "c,d\n3,4\n", "e\n5\n"):
        file.write_text(old)
        append_emissions(file, emissions_row(summary), force=True)
        assert len(rows(file)) == 1
    kept = {each.name: each.read_text() for each in tmp_path.iterdir() if each != file}
    assert kept == {
        "emissions.csv.bak": "a,b\n1,2\n",
        "emissions.csv_0.bak": "c,d\n3,4\n",
        "emissions.csv_1.bak": "e\n5\n",
    }


def test_an_empty_file_is_as_a_new_one(tmp_path: Path, summary: dict[str, Any]) -> None:
    (tmp_path / "e.csv").touch()
    append_emissions(tmp_path / "e.csv", emissions_row(summary))
    assert len(rows(tmp_path / "e.csv")) == 1


def test_codecarbon_itself_goes_on_with_the_file(tmp_path: Path, summary: dict[str, Any]) -> None:
    """Only where codecarbon is installed."""
    file_output = pytest.importorskip("codecarbon.output_methods.file")
    emissions_data = pytest.importorskip("codecarbon.output_methods.emissions_data")
    pandas = pytest.importorskip("pandas")
    append_emissions(tmp_path / "emissions.csv", emissions_row(summary))
    output = file_output.FileOutput("emissions.csv", str(tmp_path))
    data = emissions_data.EmissionsData(**{**emissions_row(summary), "project_name": "codecarbon"})
    assert output.has_valid_headers(data)
    output.out(data, None)
    frame = pandas.read_csv(tmp_path / "emissions.csv")
    assert list(frame.project_name) == ["trainwatt", "codecarbon"]
    assert list(frame.emissions) == pytest.approx([12 * 0.04179] * 2)
    assert list(frame.columns) == HEADER.split(",")
