"""Who may import whom, read from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "matteworks_common": ROOT / "services/common/matteworks_common",
    "matteworks_imaging": ROOT / "services/imaging/matteworks_imaging",
    "matteworks_outbound": ROOT / "services/outbound/matteworks_outbound",
    "matteworks_removal": ROOT / "services/removal/matteworks_removal",
    "matteworks_auth": ROOT / "services/auth/matteworks_auth",
    "matteworks_inference": ROOT / "services/inference/matteworks_inference",
    "matteworks_compositor": ROOT / "services/compositor/matteworks_compositor",
    "matteworks_edge": ROOT / "services/edge/matteworks_edge",
    "matteworks_console": ROOT / "services/console/matteworks_console",
    "matteworks_jobs": ROOT / "services/jobs/matteworks_jobs",
    "matteworks_client": ROOT / "client/matteworks_client",
    "matteworks_deploy": ROOT / "deploy/matteworks_deploy",
    "matteworks_cli": ROOT / "cli/matteworks_cli",
}
ALLOWED = {
    "matteworks_common": set(),
    "matteworks_imaging": {"matteworks_common"},
    "matteworks_outbound": {"matteworks_common", "matteworks_imaging"},
    "matteworks_removal": {"matteworks_common", "matteworks_imaging", "matteworks_outbound"},
    "matteworks_auth": {"matteworks_common"},
    # Networks may also run on a server that the operator names.
    "matteworks_inference": {"matteworks_common", "matteworks_imaging", "matteworks_outbound"},
    "matteworks_compositor": {"matteworks_common", "matteworks_imaging"},
    "matteworks_edge": {
        "matteworks_common",
        "matteworks_imaging",
        "matteworks_outbound",
        "matteworks_removal",
    },
    "matteworks_console": {"matteworks_common"},
    "matteworks_jobs": {
        "matteworks_common",
        "matteworks_imaging",
        "matteworks_outbound",
        "matteworks_removal",
    },
    "matteworks_client": {"matteworks_common"},
    # The command pulls weights and lists models in its own process, without a server.
    "matteworks_deploy": {"matteworks_common", "matteworks_client", "matteworks_inference"},
    "matteworks_cli": {"matteworks_common", "matteworks_client", "matteworks_deploy", "matteworks_inference"},
}
# HTTP belongs to the edge, the engine's vocabulary to inference, the store's to auth.
HTTP_SERVER = {"starlette", "uvicorn", "python_multipart"}
DEVICES = {"onnxruntime", "onnx"}
PIXELS = {"pyvips", "numpy", "cv2"}
FOREIGN = {
    "matteworks_imaging": {*HTTP_SERVER, *DEVICES, "redis"},
    "matteworks_outbound": {*HTTP_SERVER, *DEVICES, *PIXELS, "redis"},
    "matteworks_removal": {
        *HTTP_SERVER,
        "httpcore",
        "redis",
        "onnxruntime",
        "onnx",
        "pyvips",
        "numpy",
        "cv2",
    },
    "matteworks_auth": {"starlette", "uvicorn", "onnxruntime", "pyvips", "numpy"},
    "matteworks_inference": {"uvicorn", "redis"},
    "matteworks_compositor": {"starlette", "uvicorn", "redis", "onnxruntime", "onnx"},
    "matteworks_edge": {"redis", "onnxruntime", "onnx", "pyvips", "numpy", "cv2"},
    "matteworks_console": {"onnxruntime", "onnx", "pyvips", "numpy", "cv2", "PIL"},
    "matteworks_jobs": {*HTTP_SERVER, *DEVICES, *PIXELS},
    "matteworks_common": {"starlette", "redis", "onnxruntime", "numpy", "pyvips"},
    "matteworks_client": {"starlette", "redis", "onnxruntime", "numpy", "pyvips", "httpx"},
    "matteworks_cli": {"starlette", "redis", "onnxruntime", "pyvips"},
}


def imported_roots(package: Path) -> dict[str, set[Path]]:
    """Top-level packages that the sources import anywhere, with the files that do."""
    roots: dict[str, set[Path]] = {}
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [node.module or ""]
            for name in names:
                roots.setdefault(name.partition(".")[0], set()).add(path.relative_to(ROOT))
    return roots


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_the_packages_below_it(package: str) -> None:
    roots = imported_roots(PACKAGES[package])
    ours = {
        root: files for root, files in roots.items() if root.startswith("matteworks_") and root != package
    }

    assert {root: files for root, files in ours.items() if root not in ALLOWED[package]} == {}


@pytest.mark.parametrize("package", FOREIGN)
def test_a_package_keeps_out_of_another_layer(package: str) -> None:
    roots = imported_roots(PACKAGES[package])

    assert {root: files for root, files in roots.items() if root in FOREIGN[package]} == {}


def modules_of(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    return {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in package.rglob("*.py")
    }


def imports_of(path: Path, known: set[str]) -> set[str]:
    """Modules of `known` that importing a file imports."""
    found: set[str] = set()
    pending: list[ast.AST] = list(ast.parse(path.read_text()).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        pending.extend(ast.iter_child_nodes(node))
    return found & known


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    paths = modules_of(PACKAGES[package])
    graph = {name: imports_of(path, set(paths)) - {name} for name, path in paths.items()}

    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" > ".join(error.args[1]))


def test_nothing_imports_a_dialect_but_the_list_of_providers() -> None:
    paths = modules_of(PACKAGES["matteworks_edge"])
    dialects = {name for name in paths if name.startswith("matteworks_edge.dialects.")}
    # What they are made of.
    dialects -= {"matteworks_edge.dialects.base", "matteworks_edge.dialects.envelope"}

    importers = {name for name, path in paths.items() if imports_of(path, dialects)}

    assert importers == {"matteworks_edge.providers"}


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_starts_nothing_and_prints_nothing(package: str) -> None:
    program = f"import threading, {package}; assert threading.active_count() == 1"

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_package_is_typed() -> None:
    assert [name for name, path in PACKAGES.items() if not (path / "py.typed").is_file()] == []


def test_helms_engine_is_loaded_by_its_own_process_alone() -> None:
    """Its Go runtime takes the signals of a process over: the tests died of a closed connection."""
    # Put together, so that this file is not found.
    statement = "import " + "helm_python"
    loading = [
        path.relative_to(ROOT).as_posix()
        for folder in ("tests", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if statement in path.read_text()
    ]

    assert loading == ["tools/helm.py"]
