"""Renew the pictures of reports in docs/images/: needs Debian's chromium and what the tests need.

python tools/screenshots.py
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import topbit
from topbit.report.html_form import render_matrix

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
VMM = {"vmm.smmu_map": "protected"}
LOGS = "tests/data/recordings/vmm-maps-protected-half"
# File: what is reported, width, colours, from which element on, how many pixels high.
PICTURES = {
    "report-map.png": ("model", 1280, "light", "body", 1240),
    "report-findings.png": ("logs", 1280, "light", "#b1-findings", 900),
    "report-narrow.png": ("model", 480, "dark", "body", 1300),
    "matrix.png": ("matrix", 1280, "light", "body", 900),
}


def main() -> None:
    os.chdir(ROOT)  # the pictures show no folder of this machine
    pages = {
        "model": topbit.check(topbit.run("seed", settings=VMM)).render("html"),
        "logs": topbit.check(LOGS).render("html"),
        "matrix": render_matrix(topbit.matrix()),
    }
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        for name, (which, width, scheme, element, height) in PICTURES.items():
            file = Path(folder, "page.html")
            file.write_text(pages[which], encoding="utf-8")
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto(file.as_uri())
            box = page.locator(element).bounding_box()
            assert box is not None
            clip = {"x": 0, "y": box["y"], "width": width, "height": height}
            page.screenshot(path=IMAGES / name, full_page=True, clip=clip)
            page.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
