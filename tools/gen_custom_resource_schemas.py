"""JSON Schemas of the custom resources that the chart may make: python tools/gen_custom_resource_schemas.py

Takes the packages of PACKAGES from npm. They hold, for each type of an operator's Go API, a validator that
was compiled from the type's schema; a compiled validator names every keyword of its schema in the errors
that it can return, and from those the schema is read back, into tests/contract/chart/custom_resources/.
A field that no schema names is refused, as kubectl's strict validation does.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "tests" / "contract" / "chart" / "custom_resources"
# With the sha256 of the archive.
PACKAGES = {
    "@kubernetes-models/gateway-api@2.0.0":
        "505c284b74d2f71803803543816abe3fe58e4b0ec6d98f3bd4989726d469b81b",
    "@kubernetes-models/cert-manager@6.0.0":
        "0e5bc3ff9c20a588abdfcc34590442cc40b3037d789ec74acb59119aac4fbfed",
    "@kubernetes-models/prometheus-operator@6.0.0":
        "e92402ebff400ea1ca5fe60546554841ab6f5986b317f3f0d4cb756dc88fbd37",
    "@kubernetes-models/keda@2.0.0":
        "825e7b45dfd9da8dfdfd838a6d31e2e180c8491c8e493c3822f9123e49ceffef",
    "@kubernetes-models/apimachinery@3.0.2":
        "c4cbb5e7021158d1279180ccb7abb31ae0467165217eced89a9ec9273362227e",
    "kubernetes-models@5.1.0":
        "a7b5c0d34639c52699fc2998879590b20d57558598fb35b219b3e5a5871aa0c0",
}  # fmt: skip
# The definition of each kind; what an object says of itself (status) is not ours to write.
KINDS = {
    "Gateway": "IoK8sSigsGatewayApiApisV1Gateway",
    "HTTPRoute": "IoK8sSigsGatewayApiApisV1HTTPRoute",
    "Certificate": "ComGithubCertManagerCertManagerPkgApisCertmanagerV1Certificate",
    "ServiceMonitor": "ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1ServiceMonitor",
    "PrometheusRule": "ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1PrometheusRule",
    "ScaledObject": "ComGithubKedacoreKedaV2ApisKedaV1alpha1ScaledObject",
}

_FUNCTION = re.compile(r"(?=function validate\d+\()")
# Of each error the keyword, and the last of its parameters: a string, a number, or the name of a list.
_ERROR = re.compile(r'keyword:"(\w+)",params:\{(?:comparison:"[^"]*",)?\w+:("(?:[^"\\]|\\.)*"|[^,}]*)\}')
_IMPORT = re.compile(r'import\{validate as (validate\d+)\}from"[^"]*?/?(\w+)(?:\.js)?"')
_CALL = re.compile(r"(validate\d+)\(data(\.[\w$]+|\[\w+\])?,")


def main() -> int:
    """The exit status."""
    definitions = {}
    with tempfile.TemporaryDirectory() as scratch:
        for package, digest in PACKAGES.items():
            definitions |= sources(package, digest, Path(scratch))
    TARGET.mkdir(exist_ok=True)
    for kind, name in KINDS.items():
        schema = closed(name, definitions)
        (TARGET / f"{kind}.json").write_text(json.dumps(schema, sort_keys=True, separators=(",", ":")) + "\n")
        print(f"{kind}: {len(schema['$defs'])} definitions")
    return 0


def sources(package: str, digest: str, scratch: Path) -> dict[str, str]:
    """The compiled validators of a package, by the name of their definition."""
    done = subprocess.run(
        ["npm", "pack", package, "--silent", "--ignore-scripts", "--pack-destination", scratch],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    archive = scratch / done.stdout.split()[-1]
    actual = hashlib.sha256(archive.read_bytes()).hexdigest()
    if actual != digest:
        sys.exit(f"{package} has sha256 {actual}, not {digest or 'a known one'}")
    with tarfile.open(archive) as tar:
        return {
            Path(member.name).stem: tar.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in tar.getmembers()
            if re.search(r"/_schemas/\w+\.js$", member.name)
        }


def closed(name: str, definitions: dict[str, str]) -> dict[str, Any]:
    """The schema of a definition with all that it refers to."""
    made: dict[str, Any] = {}
    pending = [name]
    while pending:
        current = pending.pop()
        if current not in made:
            made[current], needed = schema_of(definitions[current])
            pending += needed
    for definition in made.values():
        embed(definition, made)
    made[name]["properties"].pop("status", None)
    return {"$ref": f"#/$defs/{name}", "$defs": made}


def embed(definition: dict[str, Any], others: dict[str, Any]) -> None:
    """Put the fields of structures that are embedded in this one beside its own."""
    if "properties" not in definition:
        return
    for part in definition.pop("allOf", []):
        while "$ref" not in part:
            (part,) = part["allOf"]
        other = others[part["$ref"].rpartition("/")[2]]
        embed(other, others)
        definition["properties"] |= other.get("properties", {})
        definition["required"] = [*definition.get("required", []), *other.get("required", [])]


def schema_of(source: str) -> tuple[dict[str, Any], list[str]]:
    """The schema of one compiled file, and the definitions that it refers to."""
    imports = dict(_IMPORT.findall(source))
    bodies = {
        part.partition("(")[0].removeprefix("function "): part
        for part in _FUNCTION.split(source)
        if part.startswith("function ")
    }
    needed: list[str] = []

    def reference(function: str) -> dict[str, Any]:
        if function in imports:
            needed.append(imports[function])
            return {"$ref": f"#/$defs/{imports[function]}"}
        return schema(bodies[function])

    def schema(body: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        assert len(_ERROR.findall(body)) == body.count("keyword:"), body
        for keyword, value in _ERROR.findall(body):
            if keyword == "oneOf":
                # Its branches are all that such a function calls.
                return {"oneOf": [reference(name) for name, _ in _CALL.findall(body.partition("{")[2])]}
            add_keyword(made, keyword, value, source)
        for function, where in _CALL.findall(body.partition("{")[2]):
            if not where:
                made.setdefault("allOf", []).append(reference(function))
            elif where.startswith("."):
                made.setdefault("properties", {})[where[1:]] = reference(function)
            elif where.startswith("[i"):
                made["items"] = reference(function)
            else:
                made["additionalProperties"] = reference(function)
        if "properties" in made:
            made.setdefault("additionalProperties", False)
        return nullable(made) if "null!==data" in body else made

    root = re.search(r"export const validate=(validate\d+)", source)
    assert root
    return schema(bodies[root[1]]), needed


def add_keyword(made: dict[str, Any], keyword: str, value: str, source: str) -> None:
    """What an error says of the schema that it comes from."""
    if keyword == "required":
        made.setdefault("required", []).append(json.loads(value))
    elif keyword == "enum":
        listed = re.search(rf"\b{re.escape(value)}=(\[.*?\])[;,]", source)
        assert listed, value
        made["enum"] = json.loads(listed[1])
    elif keyword == "type":
        made["type"] = json.loads(value).split(",") if "," in value else json.loads(value)
    elif keyword in ("pattern", "format"):
        made[keyword] = json.loads(value)
    else:
        made[keyword] = int(float(value))


def nullable(made: dict[str, Any]) -> dict[str, Any]:
    """As it is, or null: what Go leaves out."""
    return {"anyOf": [made, {"type": "null"}]}


if __name__ == "__main__":
    sys.exit(main())
