"""Logs of wall meters in the forms in which they come, and their comparison with a run."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.errors import ArgumentError
from trainwatt.power.plug.meter_log import EnergyLog, overlap, read_log

BEGAN_S = 1_764_000_000.0
BEGAN = datetime.fromtimestamp(BEGAN_S, timezone.utc)


def iso(second: float) -> str:
    return datetime.fromtimestamp(BEGAN_S + second, timezone.utc).isoformat()


def local(second: float) -> str:
    return datetime.fromtimestamp(BEGAN_S + second).astimezone().strftime("%Y-%m-%d %H:%M:%S")


# 500 W for ten minutes, a row a minute
ROWS = [60.0 * number for number in range(11)]
LOGS = {
    "watts": ["time,watts", *(f"{iso(t)},500" for t in ROWS)],
    "Z": ["timestamp,power_w", *(f"{iso(t).replace('+00:00', 'Z')},500.0" for t in ROWS)],
    "local time": ["Date,Power (W)", *(f"{local(t)},500" for t in ROWS)],
    "unix": ["time_s,W", *(f"{BEGAN_S + t},500" for t in ROWS)],
    "milliseconds": ["ts;kW", *(f"{round(1000 * (BEGAN_S + t))};0,5" for t in ROWS)],
    "from the begin": ["seconds,watts,volts", *(f"{t},500,230" for t in ROWS)],
    "no names": [f"{iso(t)},500" for t in ROWS],
    "a count of kWh": ["time\tcurrent\tenergy_kwh", *(f"{iso(t)}\t2.2\t{100 + 0.5 * t / 3600:.6f}" for t in ROWS)],
    "a count of Wh beside power": ["time,watts,total_wh", *(f"{iso(t)},7,{500 * t / 3600:.6f}" for t in ROWS)],
    "Wh since the last row": ["time,Wh", *(f"{iso(t)},{500 / 60 + (-1) ** n:.6f}" for n, t in enumerate(ROWS))],
    "joules": ["time,energy (J)", *(f"{iso(t)},{500 * t}" for t in ROWS)],
    "unordered, with a comment and a gap": [
        "# plug 3",
        "volts,watts,time",
        *(f"230,{'' if t == 120 else 500},{iso(t)}" for t in reversed(ROWS)),
        "",
    ],
}


@pytest.mark.parametrize("name", LOGS)
def test_each_form_of_a_log_is_read(name: str, tmp_path: Path) -> None:
    file = tmp_path / "meter.csv"
    file.write_text("\n".join(LOGS[name]) + "\n")
    log = read_log(file, BEGAN_S)
    assert log.between(BEGAN_S, BEGAN_S + 600) == pytest.approx(300_000, rel=1e-4)
    assert log.between(BEGAN_S + 120, BEGAN_S + 240) == pytest.approx(60_000, rel=1e-4)
    assert (log.times_s[0], log.times_s[-1]) == pytest.approx((BEGAN_S, BEGAN_S + 600))


def test_a_counts_smallest_step_is_its_resolution(tmp_path: Path) -> None:
    file = tmp_path / "meter.csv"
    file.write_text("time,kwh\n" + "\n".join(f"{t},{round(t / 7200, 2)}" for t in ROWS))
    assert read_log(file, BEGAN_S).resolution_j == pytest.approx(36_000)
    file.write_text("time,watts\n0,500\n600,500\n")
    assert read_log(file, BEGAN_S).resolution_j == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "time,watts\n",
        "time,watts\n0,500\n",
        "time,volts\n0,230\n1,230\n",
        "time,watts\nnoon,1\nlater,2\n",
        "time,W\n5,1\n5,2\n",
    ],
)
def test_what_is_no_log_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "meter.csv"
    file.write_text(text)
    with pytest.raises(ArgumentError, match=r"--wall-csv=.*expected a CSV file"):
        read_log(file, BEGAN_S)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="No such file"):
        read_log(tmp_path / "none.csv", BEGAN_S)


# comparison


def wave(times_s: list[float], factor: float = 1.0, begin_s: float = 0.0, shift_s: float = 0.0) -> EnergyLog:
    """100 W, from 200 s on 300 W for 100 s, then 200 W; read at some times, on a clock that is ahead."""

    def joules(time_s: float) -> float:
        return 100 * time_s + 200 * min(max(time_s - 200, 0), 100) + 100 * max(time_s - 300, 0)

    known = [factor * (joules(time_s) - joules(times_s[0])) for time_s in times_s]
    return EnergyLog([BEGAN_S + begin_s + time_s + shift_s for time_s in times_s], known)


RUN = wave([float(second) for second in range(601)])


def test_the_time_that_both_cover_is_compared() -> None:
    same = overlap(wave([-60.0 + 5 * n for n in range(80)], 1.25), RUN, "meter.csv")
    assert same.seconds == pytest.approx(335)
    assert same.shift_s == 0
    assert same.meter_j / same.run_j == pytest.approx(1.25, rel=1e-6)


@given(st.integers(-100, 100), st.floats(1.0, 2.5))
def test_a_clock_that_differs_is_found_by_the_shape_of_the_power(shift_s: int, factor: float) -> None:
    meter = wave([float(second) for second in range(601)], factor, shift_s=shift_s)
    same = overlap(meter, RUN, "meter.csv")
    # a shift that hardly changes the shape is not believed, and matters little
    assert same.shift_s == pytest.approx(shift_s, abs=1) or (same.shift_s == 0 and abs(shift_s) < 10)
    assert same.meter_j / same.run_j == pytest.approx(factor, rel=0.015)


def test_constant_power_tells_nothing_about_the_clock() -> None:
    times_s = [BEGAN_S + second for second in range(601)]
    flat = EnergyLog(times_s, [100.0 * second for second in range(601)])
    meter = EnergyLog([time_s + 7 for time_s in times_s], [130.0 * second for second in range(601)])
    same = overlap(meter, flat, "meter.csv")
    assert same.shift_s == 0
    assert same.meter_j / same.run_j == pytest.approx(1.3)


@pytest.mark.parametrize("begin_s", [-7200.0, 3600.0, 590.0])
def test_a_log_of_another_time_is_refused_with_both_times(begin_s: float) -> None:
    with pytest.raises(ArgumentError, match=r"a log of the time of the run; the log and the run are from 20\d\d-"):
        overlap(wave([0.0, 300.0, 600.0], begin_s=begin_s), RUN, "meter.csv")
