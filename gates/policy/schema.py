"""The JSON Schema of a policy file, made from the gates and sections themselves.

`make docs` writes it to policies/schema.json. An editor completes, explains and checks a
policy by it once the first line of the policy says

    # yaml-language-server: $schema=schema.json

The schema knows shapes, `policy check` also meanings: that a child only tightens, that a
gate is used once. So it accepts every file that load_policy accepts, and some more. A file
that `extends` another may leave out whatever it inherits.
Source: JSON Schema, draft 2020-12.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tidegate.gates.gate import Gate, Params, load_gates
from tidegate.gates.policy.load import SECTIONS, STAGES, _File, _Use
from tidegate.gates.policy.proof import FIXTURES
from tidegate.gates.policy.values import NUMBER, Range, _seconds
from tidegate.gates.types import Noun

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
DURATION: Schema = {
    "type": "string",
    "pattern": r"^[0-9]+(\.[0-9]+)?\s*[smhd]$",
    "examples": ["90s", "30m", "2h", "7d"],
}
RANGE: Schema = {
    "type": "string",
    "pattern": rf"^ *((<=|>=) *{NUMBER}|{NUMBER} *\.\. *{NUMBER}|{NUMBER}) *$",
    "examples": ["<=32", ">=8", "8..32"],
}
# What a person reads on a key of the file's outline.
ABOUT = {
    "policy": "name of the policy",
    "version": "counted up by whoever changes the policy",
    "why": "what this policy is for",
    "extends": "another policy file, counted from this one; this file may only tighten it",
    "data": "gates on the batch, judged before a single training step",
    "model": "gates on the candidate, judged against champion and anchor",
    "gate": "what must hold",
    "on_fail": "what happens when it does not hold; hold: a person looks",
    "suite": "name of a suite, or `update`",
    "locked": "no waiver counts for this gate, and no child policy loosens it",
    "reviewers": "a YAML file of names, public keys and roles, counted from this file",
}
WHY_OF_A_GATE = "why this must hold, for whoever is told that it does not"


def policy_schema() -> Schema:
    """The schema of a policy file as a person writes it, as plain data."""
    whole = _outline()
    without_parent = {**_required(whole), "required": list(STAGES)}
    for stage in STAGES:
        without_parent["properties"][stage]["minItems"] = 1
    return {
        "$schema": DIALECT,
        "title": "tidegate policy",
        **_inheriting(whole),
        "description": "What an update must meet before it may serve.",
        "required": whole["required"],
        "if": {"required": ["extends"], "properties": {"extends": {"type": "string"}}},
        "else": without_parent,
    }


def _outline() -> Schema:
    outline = _of(_File)
    said = outline["properties"]
    for name, model in SECTIONS.items():
        said[name] = _or_nothing(_section(name, model))
    for stage, judges in STAGES.items():
        gates = [gate for gate in load_gates().values() if gate.judges is judges]
        said[stage] = {"type": "array", "items": _gates(gates)}
    _explain(outline)
    return outline


def _section(name: str, model: type[Noun]) -> Schema:
    section = _of(model)
    said = section["properties"]
    if name == "approval":
        said["reviewers"] = {"type": ["string", "null"]}
        _explain(section)
    if name == "proof":
        for key in ("must_block", "must_pass"):
            said[key]["items"] = _words(FIXTURES)
    return section


def _gates(gates: list[Gate]) -> Schema:
    """One gate of a stage: the keys that it may have depend on its name."""
    gates = sorted(gates, key=lambda gate: gate.name)
    names = _words({gate.name: gate.summary for gate in gates})
    return {
        "type": "object",
        "required": ["gate"],
        "properties": {"gate": {"description": ABOUT["gate"], **names}},
        "allOf": [
            {
                "if": {"required": ["gate"], "properties": {"gate": {"const": gate.name}}},
                "then": _gate(gate),
            }
            for gate in gates
        ],
    }


def _gate(gate: Gate) -> Schema:
    own, params = _of(_Use), _of(gate.params)
    _explain(own)
    _explain(params)
    own["properties"]["gate"] = {"const": gate.name, "description": gate.summary}
    own["properties"]["why"]["description"] = WHY_OF_A_GATE
    return {
        "title": gate.name,
        "description": gate.summary,
        "type": "object",
        "additionalProperties": False,
        "required": [*own["required"], *params.get("required", [])],
        "properties": {**own["properties"], **params["properties"]},
    }


def _or_nothing(schema: Schema) -> Schema:
    """The same schema, or null, which says nothing."""
    return {**schema, "type": [schema["type"], "null"]}


def _words(meanings: Mapping[str, str]) -> Schema:
    return {
        "type": "string",
        "oneOf": [
            {"const": word, "description": meaning} for word, meaning in meanings.items()
        ],
    }


def _explain(schema: Schema) -> None:
    for name, said in schema["properties"].items():
        if name in ABOUT:
            said.setdefault("description", ABOUT[name])


class _AsWritten(GenerateJsonSchema):
    """Lengths of time and ranges as a file writes them, not as they are held."""

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        if schema["function"]["function"] is _seconds:
            return dict(DURATION)
        return super().function_before_schema(schema)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        if schema["cls"] is Range:
            return {"anyOf": [dict(RANGE), {"type": "number"}, found]}
        return found

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        if found.get("pattern") == DURATION["pattern"] and "default" in found:
            return {**found, "default": f"{found['default'] / 3600:g}h"}
        return found


def _of(model: type[BaseModel]) -> Schema:
    """One noun's schema with every reference written out: nouns of a policy are trees."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_AsWritten)
    written: Schema = _written_out(schema, schema.pop("$defs", {}))
    if issubclass(model, Params):
        for name, field in model.model_fields.items():
            if field.exclude:  # filled in from elsewhere, never by a file
                del written["properties"][name]
    return written


def _written_out(schema: Any, definitions: Schema) -> Any:
    if isinstance(schema, list):
        return [_written_out(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = definitions[schema["$ref"].removeprefix("#/$defs/")]
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _written_out({**target, **beside}, definitions)
    if "anyOf" in schema:
        # Of a choice with nothing an editor says "not valid under any"; of a type, which.
        first, *others = schema["anyOf"]
        target = _written_out(first, definitions)
        if others == [{"type": "null"}] and isinstance(target.get("type"), str):
            beside = {key: value for key, value in schema.items() if key != "anyOf"}
            return _written_out(_or_nothing({**target, **beside}), definitions)
    # pydantic's titles only repeat the keys; a default that is nothing explains nothing.
    dull = {"title"} if isinstance(schema.get("title"), str) else set()
    if "default" in schema and schema["default"] is None:
        dull.add("default")
    return {
        key: _written_out(value, definitions)
        for key, value in schema.items()
        if key not in dull
    }


def _inheriting(schema: Any) -> Any:
    """The same schema without what a child may leave to its parent."""
    if isinstance(schema, list):
        return [_inheriting(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: _inheriting(value)
        for key, value in schema.items()
        if not (key == "required" and isinstance(value, list))  # a setting has that name too
    }
    if "gate" in schema.get("required", ()) and "gate" in schema.get("properties", {}):
        kept["required"] = ["gate"]  # a child too says which gate it tightens
    return kept


def _required(schema: Schema) -> Schema:
    """Only what a schema requires, at every depth; nothing that it explains."""
    kept: Schema = {}
    if "required" in schema:
        kept["required"] = schema["required"]
    inside = {name: _required(said) for name, said in schema.get("properties", {}).items()}
    if inside := {name: said for name, said in inside.items() if said}:
        kept["properties"] = inside
    if items := _required(schema["items"]) if "items" in schema else {}:
        kept["items"] = items
    if choices := [c for c in schema.get("allOf", ()) if _required(c["then"])]:
        kept["allOf"] = [{"if": c["if"], "then": _required(c["then"])} for c in choices]
    return kept
