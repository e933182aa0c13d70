"""Generate `protos/gen` from `protos/matteworks`, or with --check fail when it is not current.

Import path, proto package and directory are the same, so nothing in the output is rewritten.
"""

from __future__ import annotations

import argparse
import filecmp
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
COMMITTED = PROTOS / "gen"


def generate(out: Path) -> None:
    """Write every generated module, its stubs and the package markers below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    sources = sorted(str(p.relative_to(PROTOS)) for p in (PROTOS / "matteworks").rglob("*.proto"))
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--plugin=protoc-gen-mypy={Path(sys.executable).parent / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}",
            f"--python_out={out}", f"--grpc_python_out={out}",
            f"--mypy_out={out}", f"--mypy_grpc_out={out}",
            *sources,
        ],
        check=True,
        cwd=PROTOS,
    )  # fmt: skip
    package = out / "matteworks"
    for directory in [package, *(d for d in sorted(package.rglob("*")) if d.is_dir())]:
        (directory / "__init__.py").touch()
    (package / "py.typed").touch()


def differences(fresh: Path, committed: Path) -> list[str]:
    """Paths, relative to both, that are missing, extra or different."""
    names = {
        p.relative_to(base)
        for base in (fresh, committed)
        for p in base.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    return sorted(
        str(name)
        for name in names
        if not ((fresh / name).is_file() and (committed / name).is_file())
        or not filecmp.cmp(fresh / name, committed / name, shallow=False)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 when protos/gen is stale"
    )
    if not parser.parse_args().check:
        generate(COMMITTED)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        stale = differences(Path(scratch), COMMITTED)
    for name in stale:
        print(f"stale: protos/gen/{name}; run python tools/gen_protos.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
