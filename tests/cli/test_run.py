"""``trainwatt run``: any command is measured, and behaves as if it were not."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.terminal import typed
from trainwatt import read_run
from trainwatt.cli import parser
from trainwatt.cli.run import LEFT_OUT, MONITOR_FLAGS
from trainwatt.tracking.options import Options
from trainwatt.tracking.settings import Settings

TRAINWATT = [sys.executable, "-m", "trainwatt", "run", "--zone", "FR", "--name", "run"]


def run(folder: Path, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*TRAINWATT, *options, "--", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def python(folder: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return run(folder, sys.executable, "-c", code, options=options)


def test_a_script_is_measured_and_its_output_is_its_own(tmp_path: Path) -> None:
    done = python(tmp_path, "import sys; print('loss', sum(range(10**6))); print('a word', file=sys.stderr)")
    assert (done.returncode, done.stdout) == (0, "loss 499999500000\n")
    assert "a word" in done.stderr
    assert "trainwatt: run finished after" in done.stderr
    read = read_run(tmp_path / "footprint/run")
    assert read.status == "finished"
    assert read.summary["total_j"] > 0
    assert read.summary["site"]["zone"] == "FR"


@pytest.mark.parametrize(("code", "status"), [(0, "finished"), (1, "failed"), (42, "failed"), (143, "interrupted")])
def test_the_exit_code_is_the_commands(code: int, status: str, tmp_path: Path) -> None:
    assert python(tmp_path, f"raise SystemExit({code})").returncode == code
    read = read_run(tmp_path / "footprint/run")
    assert read.status == status
    assert [event["code"] for event in read.events if event["event"] == "exit"] == [code]


def test_a_command_that_a_signal_ended_is_told_as_shells_do(tmp_path: Path) -> None:
    assert python(tmp_path, "import os; os.kill(os.getpid(), 9)").returncode == 128 + 9
    assert read_run(tmp_path / "footprint/run").status == "failed"


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("no-such-command", 127, "No such file or directory"),
        ("./no/such/command", 127, "No such file or directory"),
        ("", 127, "No such file or directory"),
        ("./script", 126, "Permission denied"),
        (".", 126, "Is a directory"),
    ],
)
def test_a_command_that_cannot_be_started_gets_one_line_and_no_run(
    tmp_path: Path, name: str, code: int, reason: str
) -> None:
    (tmp_path / "script").touch()
    done = run(tmp_path, name)
    assert (done.returncode, done.stderr, done.stdout) == (code, f"trainwatt: {name}: {reason}\n", "")
    assert not (tmp_path / "footprint").exists()


def test_a_command_that_only_the_system_refuses_gets_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    done = run(tmp_path, "./script")
    assert (done.returncode, done.stderr.count("\n")) == (126, 1)
    assert read_run(tmp_path / "footprint/run").status == "failed"


def test_nothing_to_run_is_a_wrong_use(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 2


def test_a_command_that_fails_gets_one_line_with_its_code_and_its_energy(tmp_path: Path) -> None:
    done = python(tmp_path, "raise SystemExit(3)")
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("trainwatt: run failed after")
    assert line.endswith("footprint/run; exit code 3")


def test_a_script_without_an_interpreter_is_run_by_the_shell(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('echo "got $1"\n')
    script.chmod(0o755)
    assert run(tmp_path, "./script", "this").stdout == "got this\n"


def test_the_command_reads_what_is_typed(tmp_path: Path) -> None:
    command = [*TRAINWATT, "--quiet", "--", "cat"]
    done = subprocess.run(command, cwd=tmp_path, input="words\n", capture_output=True, text=True, check=True)
    assert done.stdout == "words\n"


@pytest.mark.skipif(sys.platform == "win32", reason="files of POSIX")
def test_the_command_gets_the_files_that_were_passed_and_no_others(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    os.write(writing, b"++")
    code = f"""
import os
def is_open(number):
    try:
        return bool(os.fstat(number))
    except OSError:
        return False
print([number for number in range(3, 200) if is_open(number)], os.read({reading}, 2))
"""
    command = [*TRAINWATT, "--quiet", "--", sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, pass_fds=(reading,))
    os.close(reading)
    os.close(writing)
    assert done.stdout == f"[{reading}] b'++'\n"


@pytest.mark.skipif(sys.platform == "win32", reason="files of POSIX")
@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_no_file_of_the_record_becomes_a_standard_stream_that_was_closed(tmp_path: Path, closed: str) -> None:
    code = "import os; open('found', 'w').write(str([os.readlink(f'/proc/self/fd/{n}') for n in range(3)]))"
    command = shlex.join([*TRAINWATT, "--", sys.executable, "-S", "-c", code])
    redirections = " ".join(f"{number}>&-" for number in closed.split())
    done = subprocess.run(f"{command} {redirections}", shell=True, cwd=tmp_path, check=False, capture_output=True)
    assert done.returncode == 0, done
    assert "footprint" not in (tmp_path / "found").read_text()
    assert (tmp_path / "found").read_text().count("/dev/null") >= len(closed.split())


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("option", ["", "--json"])
def test_the_exit_code_is_the_commands_if_nobody_reads_the_summary(tmp_path: Path, stream: str, option: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*TRAINWATT, *filter(None, [option]), "--", sys.executable, "-c", "raise SystemExit(3)"]
    other = "stderr" if stream == "stdout" else "stdout"
    streams: dict[str, int] = {stream: writing, other: subprocess.DEVNULL}
    assert subprocess.run(command, cwd=tmp_path, check=False, **streams).returncode == 3  # type: ignore[call-overload]
    os.close(writing)


WAITS = """
import signal, sys, time
def leave(number, frame):
    print(signal.Signals(number).name, flush=True)
    sys.exit(3)
signal.signal(signal.{name}, leave)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP", "SIGINT", "SIGALRM", "SIGXCPU", "SIGRTMIN"])
def test_signals_reach_the_command_which_ends_as_it_likes(name: str, tmp_path: Path) -> None:
    command = [*TRAINWATT, "--", sys.executable, "-c", WAITS.format(name=name)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, name))
        assert process.stdout.read() == f"{name}\n"
    assert process.returncode == 3
    assert read_run(tmp_path / "footprint/run").summary["seconds"] > 0


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM"])
def test_a_signal_that_is_ignored_stays_so_here_and_in_the_command(name: str, tmp_path: Path) -> None:
    """As after ``nohup``, and as in the background of a shell script."""
    code = f"""
import signal, sys
print(signal.getsignal(signal.{name}) is signal.SIG_IGN, flush=True)
print(sys.stdin.readline().strip())
"""
    ignoring = (
        f"import os, signal, sys; signal.signal(signal.{name}, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", ignoring, *TRAINWATT, "--quiet", "--", sys.executable, "-c", code]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, text=True, start_new_session=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        os.killpg(process.pid, getattr(signal, name))
        assert process.communicate("goes on\n")[0] == "goes on\n"
    assert process.returncode == 0
    assert read_run(tmp_path / "footprint/run").status == "finished"


def test_a_signal_before_the_command_starts_ends_it_before(tmp_path: Path) -> None:
    """Measuring starts first; the run folder is there before the command."""
    command = [*TRAINWATT, "--quiet", "--", sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "footprint/run/events.jsonl").exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert "trainwatt" not in errors
    assert read_run(tmp_path / "footprint/run").status == "interrupted"


def _state(pid: int) -> str:
    return psutil.Process(pid).status()


def _wait_for_state(pid: int, *states: str) -> None:
    until_s = time.monotonic() + 20
    while _state(pid) not in states:
        assert time.monotonic() < until_s, _state(pid)
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="job control of POSIX")
def test_it_is_stopped_and_continued_with_its_command(tmp_path: Path) -> None:
    code = "import time; print('ready', flush=True); time.sleep(2); print('done')"
    # In a group that has a parent in its session, as in a shell: an orphaned one is not stopped.
    command = [*TRAINWATT, "--quiet", "--", sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (child,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGTSTP)
        for pid in (process.pid, child.pid):
            _wait_for_state(pid, psutil.STATUS_STOPPED)
        process.send_signal(signal.SIGCONT)
        for pid in (process.pid, child.pid):
            _wait_for_state(pid, psutil.STATUS_SLEEPING, psutil.STATUS_RUNNING)
        # Once more, because the handler has to be there again.
        process.send_signal(signal.SIGTSTP)
        _wait_for_state(child.pid, psutil.STATUS_STOPPED)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "done\n"
    assert process.returncode == 0
    assert read_run(tmp_path / "footprint/run").status == "finished"


def test_a_command_may_be_measured_from_within_too(tmp_path: Path) -> None:
    code = "import trainwatt\nwith trainwatt.measure(zone='FR', run_name='within', verbose=False): sum(range(10**6))"
    assert python(tmp_path, code).returncode == 0
    outer, inner = (read_run(tmp_path / "footprint" / name).summary for name in ("run", "within"))
    assert 0 < inner["seconds"] < outer["seconds"]
    assert 0 < inner["total_j"] < outer["total_j"]


def test_json_is_all_that_is_printed(tmp_path: Path) -> None:
    done = python(tmp_path, "print('loss')", "--json")
    assert json.loads(done.stdout) == read_run(tmp_path / "footprint/run").summary
    assert done.stderr == "loss\n"


def test_a_quiet_one_prints_nothing(tmp_path: Path) -> None:
    done = python(tmp_path, "pass", "--quiet", "--devices", "cpu", "ram", "--interval", "0.5", "--output-dir", "runs")
    assert (done.stdout, done.stderr) == ("", "")
    assert read_run(tmp_path / "runs/run").status == "finished"


def test_it_takes_what_a_monitor_takes() -> None:
    """An option of a monitor that the command lacks, or the other way round, fails here."""
    flags = vars(parser().parse_args(["run", *ALL_FLAGS, "--", "true"]))
    assert set(MONITOR_FLAGS) | SITE_OPTIONS | LEFT_OUT == set(Options.__annotations__)
    assert (set(MONITOR_FLAGS) | SITE_OPTIONS) <= flags.keys()
    assert not (set(MONITOR_FLAGS) & LEFT_OUT)
    assert (flags["gpus"], flags["full_w"], flags["run_name"]) == (["0", "GPU-5f1c2a"], 100.0, "run")
    given = {name: flags[name] for name in (*MONITOR_FLAGS, *SITE_OPTIONS) if name not in ("gpus", "cloud")}
    # The core takes them as they are.
    assert Settings.check(**given).scope == "process"


SITE_OPTIONS = {"zone", "cloud", "pue", "wue", "tariff", "carbon_intensity"}
ALL_FLAGS = (
    *("--devices", "cpu", "ram", "--gpus", "0", "GPU-5f1c2a", "--scope", "process", "--interval", "2"),
    *("--idle-w", "10", "--full-w", "100", "--output-dir", "runs", "--run-name", "run"),
    *("--zone", "FR", "--pue", "1.2", "--wue", "0.5", "--tariff", "0.2", "--carbon-intensity", "50"),
)


def test_a_gpu_that_cannot_be_named_is_refused_before_the_command_starts(tmp_path: Path) -> None:
    done = run(tmp_path, sys.executable, "-c", "print('started')", options=("--gpus", "no such GPU"))
    assert done.returncode == 2
    assert "gpus" in done.stderr
    assert not done.stdout
    done = run(tmp_path, "true", options=("--carbon-intensity", "no such source"))
    assert done.returncode == 2
    assert "electricitymaps" in done.stderr


BURN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end:\n    pass\n"
WORKER = BURN.format(0.5)
SHORT_LIVED = (
    f"import subprocess, sys\nfor _ in range(4):\n    subprocess.run([sys.executable, '-S', '-c', {WORKER!r}])"
)
GRANDCHILDREN = f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {SHORT_LIVED!r}])"
POOLED = f"""
import sys
for _ in range(2):
    sys.stdin.readline()
    exec({WORKER!r})
    print(flush=True)
sys.stdin.read()
"""
# Two workers that live on, as in a pool, and end only with the command.
PERSISTENT = f"""
import os, subprocess, sys, time
workers = [
    subprocess.Popen([sys.executable, "-S", "-c", {POOLED!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for _ in range(2)
]
for _ in range(2):
    for worker in workers:
        worker.stdin.write(b"\\n")
        worker.stdin.flush()
    for worker in workers:
        worker.stdout.readline()
time.sleep(0.3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the time of ended grandchildren")
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(BURN.format(2.0), id="command"),
        pytest.param(SHORT_LIVED, id="short-lived"),
        pytest.param(GRANDCHILDREN, id="grandchildren"),
        pytest.param(PERSISTENT + "for each in workers: each.communicate()", id="persistent"),
        # Nobody waits for workers that are left behind: they count as far as they were seen.
        pytest.param(PERSISTENT + "os._exit(0)", id="left-behind"),
    ],
)
def test_the_share_of_the_command_is_the_cpu_time_of_all_its_processes(code: str, tmp_path: Path) -> None:
    """2 s of CPU time, at 100 W for all CPUs of the machine."""
    options = ("--scope", "process", "--devices", "cpu", "--full-w", "100", "--interval", "0.2")
    assert python(tmp_path, code, *options).returncode == 0
    summary = read_run(tmp_path / "footprint/run").summary
    (device,) = summary["devices"]
    if "model" not in device["source"]:
        pytest.skip("this machine measures its CPU, so that the true energy is not known")
    busy_s = summary["total_j"] / 100 * (psutil.cpu_count() or 1)
    # Interpreters start, and this program writes its record.
    assert 2.0 * 0.97 <= busy_s <= 2.0 + 1.0


def test_ctrl_c_reaches_the_command_once(tmp_path: Path) -> None:
    """The terminal sends it to both."""
    script = f"""
import os, pty, subprocess, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.executable, {[*TRAINWATT, "--quiet", "--", sys.executable, "-c", COUNTS]!r})
text = b""
while b"ready" not in text:
    text += os.read(terminal, 1000)
os.write(terminal, b"\\x03")
try:
    while part := os.read(terminal, 1000):
        text += part
except OSError:
    pass
print(text.decode(), "code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    text = typed(script, tmp_path)
    assert text.count("interrupted") == 1
    assert "code 0" in text


COUNTS = """
import signal, time
count = []
signal.signal(signal.SIGINT, lambda *_: (count.append(1), print("interrupted", flush=True)))
print("ready", flush=True)
end = time.monotonic() + 1
while time.monotonic() < end:
    time.sleep(0.05)
"""
