"""How are the documents built? With Sphinx and MyST, warnings being errors: `make site`."""

from topbit import __version__

project = "topbit"
project_copyright = "the topbit authors"
version = release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["build"]
html_theme = "furo"
html_title = "topbit"
html_static_path = ["_static"]
html_css_files = ["topbit.css"]
smartquotes = False  # --option stays what is typed
default_role = "code"  # of docstrings

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# What the notebook shows is what it shows now; an error in it ends the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300

autodoc_typehints = "none"  # the docstrings give types
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
napoleon_use_rtype = False
suppress_warnings = ["mystnb.unknown_mime_type"]
