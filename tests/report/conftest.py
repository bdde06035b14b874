"""One small run folder and its page, made once for the whole package; nobody may change them."""

from __future__ import annotations

from pathlib import Path

import pytest

from medpref.confidence import risk_of
from medpref.report.page import RiskCurves, write_report
from medpref.report.read import read_run
from medpref.report.values import Run
from tests.report.run_folder import build_run


@pytest.fixture(scope="package")
def run_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_run(tmp_path_factory.mktemp("run"), studies=12, pairs=10)


@pytest.fixture(scope="package")
def run(run_root: Path) -> Run:
    return read_run(run_root)


@pytest.fixture(scope="package")
def curves(run_root: Path) -> RiskCurves:
    return risk_of(run_root / "eval")


@pytest.fixture(scope="package")
def page(run_root: Path, curves: RiskCurves, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page")
    write_report(run_root, out, curves=curves)
    return out / "index.html"
