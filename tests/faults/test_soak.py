from __future__ import annotations

from pathlib import Path

from standins.long_run import simulate


def test_three_days_keep_memory_and_files_bounded_and_the_sum_exact(tmp_path: Path) -> None:
    run = simulate(tmp_path, steps=60_000, epochs=600, step_s=4.32)
    assert run.days > 3
    assert run.end.rss_bytes - run.half.rss_bytes < 4e6
    assert run.end.events_bytes / run.end.epochs < 1.1 * run.half.events_bytes / run.half.epochs
    assert run.end.summary_bytes < 1.1 * run.half.summary_bytes
    assert run.total_error < 1e-9
    assert run.parts_error < 1e-9
