"""What goes into a service's image: `python -m matteworks_deploy.image select|serve SERVICE …`.

    select SERVICE WHEEL FOLDER   a wheel in FOLDER that holds only the packages which the service imports
    serve SERVICE                 the script that starts the service, with its addresses as defaults

The Dockerfile runs it before anything is installed, so it needs only the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

from matteworks_deploy.topology import METRICS_PORT, Service, service

# Stubs that every service may use.
_STUBS = "matteworks"


def packages_of(row: Service) -> tuple[str, ...]:
    """Our import packages in the image of a service."""
    return (_STUBS, *(f"matteworks_{library}" for library in row.libraries), row.package)


def select(row: Service, wheel: Path, folder: Path) -> Path:
    """Write a wheel of the same name with the service's packages alone, and return its path."""
    wanted = set(packages_of(row))
    target = folder / wheel.name
    record: list[str] = []
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as selected:
        record_name = ""
        for entry in source.infolist():
            root = entry.filename.partition("/")[0]
            if entry.filename.endswith(".dist-info/RECORD"):
                record_name = entry.filename
            elif entry.filename.endswith("entry_points.txt"):
                continue  # The command is not in the image.
            elif root in wanted or root.endswith(".dist-info"):
                content = source.read(entry)
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
                record.append(f"{entry.filename},sha256={digest},{len(content)}")
                selected.writestr(entry, content)
        selected.writestr(record_name, "\n".join([*record, f"{record_name},,", ""]))
    return target


def serve_script(row: Service) -> str:
    """A shell script that starts the service; what is set already wins over its defaults."""
    # Also of those who serve nobody: their health and their metrics are looked at from outside.
    listens = f"0.0.0.0:{row.port}"
    defaults = {"METRICS_PORT": str(METRICS_PORT), "LISTEN_ADDRESS": listens, **row.environment}
    if row.http_port:
        defaults["HTTP_LISTEN_ADDRESS"] = f"0.0.0.0:{row.http_port}"
    lines = ["#!/bin/sh", "set -eu"]
    for setting, value in sorted(defaults.items()):
        name = row.variable(setting)
        lines.append(f'export {name}="${{{name}:-{value}}}"')
    return "\n".join([*lines, f'exec python -m {row.program} "$@"', ""])


def main(arguments: list[str]) -> None:
    """See the module."""
    match arguments:
        case ["select", name, wheel, folder]:
            print(select(service(name), Path(wheel), Path(folder)))
        case ["serve", name]:
            print(serve_script(service(name)), end="")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
