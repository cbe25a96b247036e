"""The test command behind `make test`: lint, unit tests, then every notebook by nbval without a network.

The notebooks run in the order of the route, into a scratch folder for engagements, inside a network namespace that has
only loopback. Where the kernel forbids such a namespace they run outside it, and the summary says so. Afterwards what
they wrote is compared with the committed sample run.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NBVAL = [
    "--nbval-current-env",
    "--nbval-cell-timeout=900",
    "--nbval-kernel-startup-timeout=120",
    "-p",
    "no:cacheprovider",
]
STRICT = ["--nbval", *NBVAL, "--nbval-sanitize-with=tests/nbval_sanitize.cfg"]
LAX = ["--nbval-lax", *NBVAL]


def books(*numbers: str) -> list[str]:
    """Paths of the notebooks with these numbers."""
    return [str(next((ROOT / "notebooks").glob(f"{n}_*.ipynb")).relative_to(ROOT)) for n in numbers]


def steps(isolate: list[str]) -> list[tuple[str, list[str]]]:
    """Name and command of every step, in order."""
    pytest = [sys.executable, "-m", "pytest"]
    return [
        ("ruff", [sys.executable, "-m", "ruff", "check", "."]),
        ("unit tests and static checks", [*pytest, "tests"]),
        ("notebooks 00-06, strict", [*isolate, *pytest, *STRICT, *books("00", "01", "02", "03", "04", "05", "06")]),
        ("notebooks 07-08, lax", [*isolate, *pytest, *LAX, *books("07", "08")]),
        ("notebooks 09 and 90, strict", [*isolate, *pytest, *STRICT, *books("09", "90")]),
        ("sample run equals what the notebooks wrote", [*pytest, "tests/test_sample_run.py"]),
    ]


def isolation() -> list[str]:
    """Command prefix that leaves only loopback, or an empty list where the kernel forbids it."""
    prefix = ["unshare", "-rn", sys.executable, str(ROOT / "tools" / "offline.py")]
    allowed = shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return prefix if allowed else []


def main() -> int:
    """Run all steps, stop at none, print one line each, and return how many failed."""
    isolate = isolation()
    print("network for the notebooks:", "loopback only" if isolate else "NOT CUT OFF (this kernel forbids namespaces)")
    failed, summary = 0, []
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"PLAYBOOK_ENGAGEMENTS": scratch}
        for name, command in steps(isolate):
            print(f"\n== {name}", flush=True)
            started = time.perf_counter()
            code = subprocess.call(command, cwd=ROOT, env=environment)
            failed += code != 0
            summary.append(f"{'FAILED' if code else 'passed':7} {time.perf_counter() - started:5.0f} s  {name}")
    print("\n" + "\n".join(summary))
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
