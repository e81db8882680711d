"""The documentation site: ``sphinx-build -W --keep-going -b html docs docs/_build``."""

import lstmcore

project = "lstmcore"
author = "the lstmcore authors"
version = release = lstmcore.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_show_copyright = False
html_title = f"lstmcore {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]

# Headings have the anchors that GitHub gives them, so that a link works in both places.
myst_heading_anchors = 3

# In the order of the source, which goes from the common to the special.
autodoc_member_order = "bysource"
# As the source writes them; evaluated, ``Array`` would be a line of its own.
autodoc_type_aliases = {"Array": "Array", "StrPath": "StrPath", "Scope": "Scope", "State": "State"}
autodoc_preserve_defaults = True
autoclass_content = "class"
maximum_signature_line_length = 88
python_use_unqualified_type_names = True
