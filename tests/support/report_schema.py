"""Is a document as the published JSON Schema says?"""

from __future__ import annotations

import importlib.resources
import json
from typing import Any

import jsonschema
from referencing import Registry, Resource

_FOLDER = importlib.resources.files("topbit.report").joinpath("schema")
SCHEMA = json.loads(_FOLDER.joinpath("report.schema.json").read_text())
EXPLAIN = json.loads(_FOLDER.joinpath("explain.schema.json").read_text())
_VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
_BESIDE = Registry().with_resource("report.schema.json", Resource.from_contents(SCHEMA))


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


def valid_explanation(text: str) -> dict[str, Any]:
    """The one document of `topbit explain`; an assertion fails if it breaks its schema."""
    document = json.loads(text, parse_constant=lambda name: 1 / 0)
    validator = jsonschema.Draft202012Validator(EXPLAIN, registry=_BESIDE)
    assert validator.is_valid(document)
    shape = {"$ref": "#/$defs/explanation", "$defs": EXPLAIN["$defs"]}
    if "error" not in document:
        errors = validator.evolve(schema=shape).iter_errors(document)
        assert [f"{error.json_path}: {error.message}" for error in errors] == []
    return dict(document)
