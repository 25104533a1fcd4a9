"""The pages in a browser that reaches nothing: skipped where there is no Chromium on the machine."""

from __future__ import annotations

import html
import importlib.resources
import importlib.util
import json
import re
import shutil
import subprocess
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.html.runs import hostile, killed, trained
from trainwatt import read_run
from trainwatt.reporting.html import comparison_page, run_page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

_OPTIONS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--proxy-server=127.0.0.1:9", "--allow-file-access-from-files", "--virtual-time-budget=20000", "--dump-dom"),
]
_ASK = """(async () => {
  while (!document.documentElement.dataset.drawn) await new Promise((again) => setTimeout(again, 20));
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify(await (async () => { %s })());
  document.body.append(found);
})();"""
_FRAME = """<body style="margin:0"><iframe src="%s" style="border:0;width:360px;height:4000px"></iframe>
<script>const inside = () => document.querySelector("iframe").contentDocument;</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A run's report, that of a killed run, and a comparison."""
    folder = tmp_path_factory.mktemp("footprint")
    runs = [read_run(trained(folder, name, ceiling)) for name, ceiling in (("small", 0.6), ("a longer name", 0.9))]
    runs.append(read_run(killed(trained(folder, "killed", 0.7))))
    return {"run": run_page(runs[0]), "killed": run_page(runs[2]), "comparison": comparison_page(runs)}


def with_script(text: str, script: str) -> str:
    """Return a page with one more script, which its policy allows by its hash."""
    own = f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
    return text.replace("script-src ", f"script-src {own} ", 1) + f"<script>{script}</script>"


def asked(folder: Path, text: str, question: str, *, dark: bool = False) -> Any:
    """What a page answers once it is drawn.

    Args:
        folder: for its file.
        text: of the page.
        question: the body of an asynchronous function in JavaScript.
        dark: whether the user likes it dark.
    """
    path = folder / "asked.html"
    path.write_text(with_script(text, _ASK % question), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [str(CHROMIUM), *_OPTIONS, scheme, f"--user-data-dir={folder / 'profile'}", path.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="found">(.*?)</pre>', run.stdout, flags=re.DOTALL)
    assert found, run.stderr
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("name", ["run", "killed", "comparison"])
def test_all_pictures_are_drawn_with_the_network_cut_off(name: str, pages: dict[str, str], tmp_path: Path) -> None:
    question = """return {
      drawn: [...document.querySelectorAll(".chart")].map((chart) => chart.querySelectorAll("svg path").length),
      fetched: performance.getEntriesByType("resource").length};"""
    answer = asked(tmp_path, pages[name], question)
    assert answer["drawn"]
    assert min(answer["drawn"]) > 5
    assert answer["fetched"] == 0


@pytest.mark.skipif(importlib.util.find_spec("axe_core_python") is None, reason="axe-core-python is not installed")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["run", "killed", "comparison"])
def test_axe_finds_nothing(name: str, dark: bool, pages: dict[str, str], tmp_path: Path) -> None:
    axe = importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    question = """for (const each of document.querySelectorAll("details")) each.open = true;
      const {violations, passes} = await axe.run(document);
      return {passed: passes.length, found: violations.map((v) => [v.id, v.help, v.nodes.map((n) => n.html)])};"""
    answer = asked(tmp_path, with_script(pages[name], axe), question, dark=dark)
    assert answer["found"] == []
    assert answer["passed"] > 15


@pytest.mark.parametrize("name", ["run", "killed", "comparison"])
def test_nothing_is_wider_than_a_phone(name: str, pages: dict[str, str], tmp_path: Path) -> None:
    inner = tmp_path / "inner.html"
    inner.write_text(pages[name], encoding="utf-8")
    wait = "while (!inside()?.documentElement?.dataset.drawn) await new Promise((again) => setTimeout(again, 20));"
    question = wait + "return [inside().documentElement.scrollWidth, inside().documentElement.clientWidth];"
    outer = _FRAME % inner.as_uri() + '<script>document.documentElement.dataset.drawn = "yes";</script>'
    assert asked(tmp_path, outer, question) == [360, 360]


def test_a_table_is_sorted_by_its_columns(pages: dict[str, str], tmp_path: Path) -> None:
    question = """const head = [...document.querySelectorAll("th button")].find((b) => b.textContent === "energy");
      const table = head.closest("table"), column = head.closest("th").cellIndex;
      const orders = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[column].dataset.order));
      head.focus();
      const seen = [document.activeElement === head];
      for (let times = 0; times < 2; times++) { head.click(); seen.push(orders(), head.closest("th").ariaSort); }
      return seen;"""
    focused, rising, up, falling, down = asked(tmp_path, pages["comparison"], question)
    assert focused
    assert (up, down) == ("ascending", "descending")
    assert rising == sorted(rising)
    assert falling == rising[::-1]


_ACTED = """await new Promise((again) => setTimeout(again, 300));
  const acting = [...document.querySelectorAll("*")].filter((each) => [...each.attributes].some(
    ({name, value}) => name.startsWith("on") || /^\\s*javascript:/i.test(value)));
  return {hacked: window.hacked ?? null, title: document.title, acting: acting.length,
    scripts: document.querySelectorAll("script:not([data-chart])").length,
    foreign: document.querySelectorAll("img, iframe, object, embed, form:not(.vega-bindings), base, body style").length,
    charts: [...document.querySelectorAll(".chart")].map((chart) => chart.querySelectorAll("svg path").length),
    cells: [...document.querySelectorAll("th, td")].map((cell) => cell.textContent).join(" ")};"""


@pytest.mark.parametrize("name", ["run", "comparison", "notebook"])
def test_no_script_runs_with_hostile_texts_in_every_field(name: str, tmp_path: Path) -> None:
    read = read_run(hostile(trained(tmp_path / "footprint", "run")))
    other = read_run(trained(tmp_path / "footprint", "other"))
    texts = {"run": run_page(read), "comparison": comparison_page([read, other])}
    # A notebook has no policy of ours: there the escapes are all that there is.
    texts["notebook"] = texts["run"].split("<header>")[0] + read._repr_html_() + "<script></script>" * 4
    done = 'document.documentElement.dataset.drawn = "yes";' if name == "notebook" else ""
    answer = (
        asked(tmp_path, texts[name], done + _ACTED)
        if not done
        else asked(tmp_path, with_script(texts[name], done), _ACTED)
    )
    assert answer["hacked"] is None
    assert answer["acting"] == answer["foreign"] == 0
    # Four of the page, that of the question, and in a notebook the one that stands in for the charts.
    assert answer["scripts"] == (6 if done else 5)
    assert "window.hacked=1" in answer["cells"]
    if not done:
        assert min(answer["charts"]) > 5


def test_the_policy_stops_a_script_that_a_page_should_never_have(pages: dict[str, str], tmp_path: Path) -> None:
    spoilt = pages["run"].replace(
        "<h1>", "<script>window.hacked=1</script><img src=x onerror='window.hacked=2'><h1>", 1
    )
    assert asked(tmp_path, spoilt, _ACTED)["hacked"] is None
    allowed = with_script(pages["run"], "window.hacked=3")
    assert asked(tmp_path, allowed, _ACTED)["hacked"] == 3


def test_the_policy_allows_no_inline_code_of_others(pages: dict[str, str]) -> None:
    for text in pages.values():
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
        assert "unsafe" not in policy
        assert policy.count("sha256-") == 5
