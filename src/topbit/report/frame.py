"""How does a notebook show a page: in a frame of its own?"""

from __future__ import annotations

import html

STYLE = "box-sizing:border-box;width:100%;height:40em;border:1px solid #8886;border-radius:6px"


def framed(page: str, title: str) -> str:
    """Which element shows the page, in a frame that `title` names?

    Such a page's links would lead into the notebook, which its browser takes for their base.
    """
    page = page.replace("<head>", '<head><base href="about:srcdoc">', 1)
    return f'<iframe title="{title}" srcdoc="{html.escape(page)}" style="{STYLE}"></iframe>'
