"""Make a release in DIST: `python -m tools.release --dist dist`.

Builds the wheel and the source archive, installs the wheel into an empty environment with its base
dependencies alone and imports the client and every stub there, installs it with everything that the services
run on, and writes `sbom.cdx.json` (CycloneDX) and `licences.md` of that. Exit status 1 when one of it fails,
or when a part is under the GPL or the AGPL alone. Needs the package index.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from matteworks_inference.networks.registry import load_registry
from tools.release.parts import parts_of, report, with_weights

ROOT = Path(__file__).resolve().parents[2]
_SERVICES = "auth,inference,compositor,edge,console,jobs,local"
_SBOM_TOOL = "cyclonedx-bom>=7.5,<8"
# Everything that a platform team calls, and nothing that only a service needs.
_CLIENT_CHECK = """
import importlib, pkgutil
import matteworks, matteworks_client
names = [found.name for found in pkgutil.walk_packages(matteworks.__path__, "matteworks.")]
for name in names:
    importlib.import_module(name)
for absent in ("numpy", "onnxruntime", "starlette", "redis"):
    try:
        importlib.import_module(absent)
    except ImportError:
        continue
    raise SystemExit(f"{absent} came with the base dependencies")
with matteworks_client.MatteworksClient("127.0.0.1:9") as client:
    print(f"{len(names)} stubs and the client of", importlib.metadata.version("matteworks"))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dist", type=Path, default=Path("dist"))
    dist: Path = parser.parse_args().dist
    dist.mkdir(parents=True, exist_ok=True)
    wheel = build(dist)
    print(f"built {wheel.name}")
    with tempfile.TemporaryDirectory() as scratch:
        client = environment(Path(scratch) / "client", str(wheel))
        run([str(client), "-c", _CLIENT_CHECK], told=True)
        services = environment(Path(scratch) / "services", f"{wheel}[{_SERVICES}]")
        tool = environment(Path(scratch) / "tool", _SBOM_TOOL, locked=False)
        command = [str(tool.with_name("cyclonedx-py")), "environment", "--output-reproducible"]
        command += ["--of", "JSON", "--pyproject", str(ROOT / "pyproject.toml")]
        run([*command, "-o", str(dist / "sbom.cdx.json"), str(services)])
    sbom = dist / "sbom.cdx.json"
    pulled = [entry for entry in load_registry(None).entries if entry.is_pulled_by_default]
    document = with_weights(json.loads(sbom.read_text()), pulled)
    sbom.write_text(json.dumps(document, indent=2) + "\n")
    parts = parts_of(document)
    (dist / "licences.md").write_text(report(parts))
    refused = [part.name for part in parts if part.is_refused]
    print(f"{len(parts)} parts, {len(refused)} of them under the GPL or the AGPL alone {refused or ''}")
    return 1 if refused else 0


def build(dist: Path) -> Path:
    """Wheel and source archive in `dist`; the wheel's path."""
    run([sys.executable, "-m", "build", "--outdir", str(dist), str(ROOT)])
    return max(dist.glob("matteworks-*.whl"), key=lambda path: path.stat().st_mtime)


def environment(directory: Path, requirement: str, *, locked: bool = True) -> Path:
    """The interpreter of a new environment that holds `requirement`, in the versions of the lock."""
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    constraint = ["-c", str(ROOT / "requirements.lock")] if locked else []
    run([str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *constraint, requirement])
    return python


def run(command: list[str], *, told: bool = False) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} … failed:\n{(done.stderr or done.stdout)[-3000:]}")
    if told:
        print(done.stdout.strip())


if __name__ == "__main__":
    sys.exit(main())
