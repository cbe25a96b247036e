"""How long things take on this machine: every notebook, the first cited answer, the import. Prints; never gates.

`python tools/bench.py` works on the sample client in a scratch folder.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUDGET = {"00": 10, "01": 10, "02": 10, "03": 30, "04": 60, "05": 150, "06": 5, "07": 60, "08": 210, "09": 30}


def timed(command: list[str]) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print seconds beside the budget for each notebook, for `playbook ask` on a new folder, and for the import."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PLAYBOOK_ENGAGEMENTS"] = scratch
        idle = min(timed([sys.executable, "-c", "pass"]) for _ in range(5))
        imported = min(timed([sys.executable, "-c", "import playbook"]) for _ in range(5))
        print(f"import playbook        {imported - idle:6.2f} s  (budget 0.3)")
        asked = timed(
            [sys.executable, "-m", "playbook", "ask", "sample", "What is the monthly rent of a Larkrest 300?"]
        )
        print(f"first cited answer     {asked:6.1f} s  (budget 60, nothing indexed before)")
        from playbook import runner
        from playbook.engagement import open_engagement

        for step in runner.walk(open_engagement("sample"), again=True):
            print(f"{step.notebook:22} {step.seconds:6.1f} s  (budget {BUDGET[step.notebook[:2]]})", flush=True)


if __name__ == "__main__":
    main()
