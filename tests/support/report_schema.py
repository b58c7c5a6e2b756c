"""Is a document as the published JSON Schema says?"""

from __future__ import annotations

import importlib.resources
import json
from typing import Any

import jsonschema

SCHEMA = json.loads(
    importlib.resources.files("topbit.report").joinpath("schema/report.schema.json").read_text()
)
_VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def valid(text: str) -> dict[str, Any]:
    """The one document that the text is; an assertion fails if it breaks the schema."""
    document = json.loads(text, parse_constant=lambda name: 1 / 0)  # NaN is no JSON
    which = "error" if "error" in document else "report"
    validator = _VALIDATOR.evolve(schema={**SCHEMA["$defs"][which], "$defs": SCHEMA["$defs"]})
    assert [
        f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)
    ] == []
    assert _VALIDATOR.is_valid(document)
    return dict(document)
