"""The rules of the house, as far as a program can check them on our own source."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from csms.config import Settings, load

ROOT = Path(__file__).parent.parent
PACKAGES = ("csms", "billing", "reporting", "simulators")
SHIPPED = ("csms", "billing", "reporting")
PURE = (
    "csms.domain",
    *("billing.money", "billing.tariff", "billing.invoice", "billing.ledger", "billing.statement"),
    *("billing.reckoning", "billing.statement_state", "billing.payment_state", "billing.sepa"),
    *("billing.late_payment", "billing.reminding", "billing.orders", "billing.provider_state"),
    *("billing.supply", "reporting.qualicharge_rows"),
    *("reporting.ocpi.kinds", "reporting.ocpi.objects", "reporting.ocpi.cdrs"),
    *("reporting.availability", "reporting.availability_report", "reporting.load_curve"),
    *("reporting.consumption", "reporting.span", "reporting.sheet"),
)
IMPURE_IMPORTS = {
    *("asyncio", "psycopg", "psycopg_pool", "fastapi", "websockets", "ocpp", "aiomqtt", "pandas"),
    *("logging", "csms.config", "csms.db", "random", "secrets", "socket", "threading", "time"),
}
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter"}
# The verbs that run simulated stations.
MAY_SIMULATE = (
    *("csms.__main__", "csms.demo", "csms.demo_payments", "csms.demo_roaming"),
    *("csms.bench", "csms.cli"),
)


@cache
def modules() -> dict[str, ast.Module]:
    """Our modules by dotted name; a package goes by its own name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module imported anywhere in it, in functions too; `from a import b` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tracked_files() -> list[Path]:
    """Files under version control; all files of a source archive without it."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if done.returncode:
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def requirements(extra: str | None = None) -> set[str]:
    """Names of what pyproject.toml asks for, as they are compared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in lines}


def test_imports_go_down_only() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pure_modules_touch_neither_the_world_nor_the_clock() -> None:
    for name, tree in modules().items():
        if not any(is_in(name, pure) for pure in PURE):
            continue
        for imported in imports(tree):
            assert not any(is_in(imported, bad) for bad in IMPURE_IMPORTS), f"{name}: {imported}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                clock = node.func.attr in CLOCKS and owner in ("datetime", "date", "time")
                assert not clock, f"{name}:{node.lineno} reads the clock"


def test_the_domain_needs_the_standard_library_only() -> None:
    for name, tree in modules().items():
        if is_in(name, "csms.domain"):
            for imported in imports(tree):
                top = imported.split(".")[0]
                assert top in sys.stdlib_module_names or is_in(imported, "csms.domain"), imported


def test_simulators_share_no_protocol_code_with_the_server() -> None:
    for name, tree in modules().items():
        if is_in(name, "simulators"):
            for imported in imports(tree):
                ours = any(is_in(imported, package) for package in SHIPPED)
                assert not ours or is_in(imported, "csms.domain.values"), f"{name}: {imported}"


def test_nothing_shipped_needs_the_simulators() -> None:
    for name, tree in modules().items():
        if any(is_in(name, package) for package in SHIPPED) and not any(
            is_in(name, verb) for verb in MAY_SIMULATE
        ):
            assert not any(is_in(imported, "simulators") for imported in imports(tree)), name


def test_every_package_has_a_map() -> None:
    for package in PACKAGES:
        for folder in (ROOT / package).rglob("*"):
            if folder.is_dir() and any(folder.glob("*.py")):
                name = ".".join(folder.relative_to(ROOT).parts)
                assert name in modules(), f"{name} has no __init__.py"
        assert package in modules(), package
    for name, tree in modules().items():
        assert ast.get_docstring(tree), f"{name} does not say what it is"


def test_every_public_function_says_what_it_does() -> None:
    silent = [
        f"{name}.{node.name}"
        for name, tree in modules().items()
        for node in tree.body
        if any(is_in(name, package) for package in SHIPPED)
        and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_module_holds_too_many_ideas() -> None:
    """A hard bound, well above the 150 to 350 lines that a module should have."""
    for name in modules():
        path = ROOT.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 700, f"{name} has {lines} lines"


def test_every_number_in_the_settings_names_its_unit() -> None:
    unit = re.compile(
        r"_(s|ms|w|days|months|bytes|port|frames|connections|handshakes|events|periods|answers|questions|stations"
        r"|m|minutes|points|readings|reservations|rows|streams|cents"
        r"|workers|failures|mails|percent|threshold|length|commands|entries|concurrent|pool|total|burst|waiting|per_s|per_day)(_max|_min)?$"
    )
    for field in fields(Settings):
        if field.type in (int, float, "int", "float"):
            assert unit.search(field.name), f"{field.name}: a number of what?"


def test_the_defaults_can_be_read(tmp_path: Path) -> None:
    assert load({}, tmp_path) == Settings()


def test_every_part_used_is_declared() -> None:
    """What shipped code imports from outside stands in pyproject.toml, not only by chance here."""
    # The second set comes with the first, as part of what it promises.
    declared = requirements() | {"psycopg-pool", "starlette", "pydantic", "click"}
    declared |= {"pydantic-core"}
    known = {"argon2": "argon2-cffi", "facturx": "factur-x", "fpdf": "fpdf2"}
    for name, tree in modules().items():
        for imported in imports(tree):
            top = imported.split(".")[0]
            if top not in sys.stdlib_module_names and top not in PACKAGES and top != "tests":
                distribution = known.get(top, top).lower().replace("_", "-")
                assert distribution in declared, f"{name} imports {top}"


def test_no_path_of_a_machine_is_kept() -> None:
    homes = re.compile(
        r"(?<![\w.])/(?:" + "|".join(("wo" + "rk", "ho" + "me", "ro" + "ot")) + r")/"
    )
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        found = homes.search(text)
        assert found is None, f"{path.relative_to(ROOT)}: {found and found[0]}"


@pytest.mark.parametrize("name", [".ci/run", "deploy/create-roles.sh"])
def test_scripts_can_be_run(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    shell = "bash" if "bash" in (ROOT / name).read_text().splitlines()[0] else "sh"
    done = subprocess.run([shell, "-n", str(ROOT / name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_installed_part_is_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for line in pins:
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins}
    assert requirements() | requirements("dev") <= pinned
