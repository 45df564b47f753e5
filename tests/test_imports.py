"""Imports go one way, jobs → cluster → valence, and inside valence no plug-in imports a sibling."""

import ast
from pathlib import Path

import pytest

FORBIDDEN = {
    "valence": {"ray", "vllm", "mlflow", "cluster", "jobs"},
    "cluster": {"jobs"},
}
PLUGIN_FOLDERS = ("classifiers", "strategies", "targets", "datasets")
TABLES_ONLY = (
    *("valence/stats", "valence/figures.py", "valence/figure_style.py", "valence/report.py"),
    *("valence/report_text.py", "valence/report_tables.py", "valence/report_methods.py"),
    *("valence/axis_figures.py", "valence/label_places.py"),
)


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_imports_go_one_way(repository, package):
    files = sorted((repository / package).rglob("*.py"))
    assert files
    for file in files:
        heads = {name.split(".")[0] for name in imported_modules(file)}
        assert not heads & FORBIDDEN[package], f"{file} imports {heads & FORBIDDEN[package]}"


@pytest.mark.parametrize("folder", PLUGIN_FOLDERS)
def test_no_plugin_imports_a_sibling(repository, folder):
    files = [file for file in sorted((repository / "valence" / folder).glob("*.py")) if file.name != "__init__.py"]
    assert files
    siblings = {f"valence.{folder}.{file.stem}" for file in files}
    for file in files:
        # simulated data are read by the reader of the format they are written in
        allowed = {"valence.datasets.base", "valence.datasets.faced"}
        taken = {name for name in imported_modules(file) if name in siblings} - allowed
        assert not taken, f"{file} imports {taken}"


@pytest.mark.parametrize("place", TABLES_ONLY)
def test_statistics_and_report_see_tables_only(repository, place):
    path = repository / place
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    assert files
    for file in files:
        heads = {name.split(".")[0] for name in imported_modules(file)}
        assert not heads & {"torch", "ray", "mlflow"}, f"{file} imports {heads & {'torch', 'ray', 'mlflow'}}"
