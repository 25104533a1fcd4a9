"""Text from outside in every format that we write: it is shown, and acts on nothing."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser

import pytest

from trainwatt.escaping.documents import csv_cell, latex, markdown, yaml_text
from trainwatt.escaping.markup import Html, element, joined, raw_element, script_data
from trainwatt.escaping.printable import printable

NASTY = "<script>alert(1)</script> \"'&--> </style> {{x}} `` ${y}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run\x1b[2J\x07", "run\\x1b[2J\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("naïve 日本 👩\u200d🔬 א", "naïve 日本 👩\u200d🔬 א"),
    ],
)
def test_what_acts_on_a_terminal_is_shown_as_its_code(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_may_be_kept() -> None:
    assert printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"


class _Seen(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_no_text_becomes_markup_in_content_or_attributes() -> None:
    seen = _Seen(element("p", NASTY, element("b", NASTY), title=NASTY, data_order=5, hidden=True, id=None))
    assert seen.tags == ["p", "b"]
    assert seen.text == NASTY * 2
    assert seen.attributes == {"title": NASTY, "data-order": "5", "hidden": None}


def test_markup_that_was_formatted_is_a_text_again() -> None:
    made = element("b", "x")
    assert element("p", f"{made}") == "<p>&lt;b&gt;x&lt;/b&gt;</p>"
    assert element("p", made + "<i>") == "<p>&lt;b&gt;x&lt;/b&gt;&lt;i&gt;</p>"
    assert joined([made, "<i>"]) == "<b>x</b>&lt;i&gt;"
    assert isinstance(joined([]), Html)


def test_controls_are_no_html() -> None:
    assert element("p", "a\0\x1b\x85b", title="\0") == '<p title="\ufffd">a\ufffd\ufffd\ufffdb</p>'


@pytest.mark.parametrize("name", ["script", "style", "p onload", "P", "", "p>"])
def test_elements_that_act_are_not_made_of_texts(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        element(name, "x")


@pytest.mark.parametrize("name", ["onclick", "onload_", "a b", 'a"'])
def test_attributes_that_act_are_not_made(name: str) -> None:
    with pytest.raises(ValueError, match="no attribute"):
        element("p", **{name: "x"})


def test_data_does_not_end_its_script() -> None:
    data = script_data(json.dumps({"name": NASTY + "<!--"}))
    assert "<" not in data
    assert json.loads(data)["name"] == NASTY + "<!--"
    assert data in raw_element("script", data, type="application/json")
    with pytest.raises(ValueError, match="would end it"):
        raw_element("script", "</SCRIPT>")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "  =1", "|x", "%x", "＝1"])  # noqa: RUF001
def test_a_cell_is_no_formula(text: str) -> None:
    file = io.StringIO()
    csv.writer(file).writerow([csv_cell(text)])
    (row,) = csv.reader(io.StringIO(file.getvalue()))
    assert row[0].startswith("'")


def test_other_cells_stay_as_they_are() -> None:
    assert [csv_cell(each) for each in ("", "run-1", "8 x H100", "a=b")] == ["", "run-1", "8 x H100", "a=b"]


def test_markdown_shows_a_text_as_it_is() -> None:
    shown = markdown("*a* _b_ [c](http://x.org) `d` <img src=x> ![e](f) | &lt; @octo www.x.org\n# g")
    for raw in ("*a*", "_b_", "[c](", "`d`", "<img", "![", " | ", "&lt;", "http://", " @octo", "www.x", "\n"):
        assert raw not in shown.replace("\\*a\\*", "").replace("\\_b\\_", "").replace("\\[c\\](", "").replace(
            "\\`d\\`", ""
        ).replace("\\<img", "").replace("!\\[", "").replace(" \\| ", "").replace("\\&lt;", "")
    assert (
        markdown("8 x NVIDIA H100 80GB, 1.5 (0.4 to 2.0) kg: 90%") == "8 x NVIDIA H100 80GB, 1.5 (0.4 to 2.0) kg: 90%"
    )


def test_latex_runs_no_command() -> None:
    assert latex("\\input{x} $y$ %z") == r"\textbackslash{}input\{x\} \$y\$ \%z"
    assert "\n" not in latex("a\n\nb")


def test_yaml_is_one_scalar() -> None:
    assert json.loads(yaml_text('a": b\n- c')) == 'a": b - c'
