"""Documentation site: ``make docs``. Pages include parts of the READMEs, so that each text exists once."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sphinx.util import inspect
from sphinx.util.inspect import stringify_signature

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "integrations")]

# the frameworks of the plugins need not be installed: only our own sources are documented
autodoc_mock_imports = ["accelerate", "keras", "lightning", "torch", "transformers"]
_names = ModuleType("transformers.integrations.integration_utils")  # a mock cannot be added to
_names.INTEGRATION_TO_CALLBACK, _names.CodeCarbonCallback = {}, object  # type: ignore[attr-defined]
sys.modules[_names.__name__] = _names

project = "trainwatt"
author = "The trainwatt authors"
copyright = "The trainwatt authors"  # noqa: A001  # Sphinx's name
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "trainwatt"
html_show_sphinx = False
html_copy_source = False

autoclass_content = "class"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 88
napoleon_use_ivar = True
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline", "deflist"]

# links in the READMEs, and the pages of the site that have these parts
LINKS = {
    "../../README.md#metrics": "/metrics.md",
    "../../README.md#stopping-green": "/stopping.md",
    "benchmarks/stopping/README.md": "/benchmarks-stopping.md",
    "stopping/README.md": "/benchmarks-stopping.md",
    "LICENSES.md": "/benchmarks-stopping-licences.md",
}


def _links_of_the_site(app: Sphinx, path: Path, docname: str, content: list[str]) -> None:
    for old, new in LINKS.items():
        content[0] = content[0].replace(f"]({old})", f"]({new})")


def _signature_of_its_own(  # noqa: PLR0917  # Sphinx calls it
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Show the signature of our own constructor; that of a mocked base class would be meaningless."""
    if what != "class" or not name.startswith("trainwatt_"):
        return None
    return stringify_signature(inspect.signature(obj.__init__, bound_method=True)), returns


def setup(app: Sphinx) -> None:
    """Register the hooks; called by Sphinx."""
    app.connect("include-read", _links_of_the_site)
    app.connect("autodoc-process-signature", _signature_of_its_own)
