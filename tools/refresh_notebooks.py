"""Run every notebook in place on the sample client, store its outputs, and renew data/sample_run.

Run it after changing a notebook, the package or the sample data, and read the diff: it is what every reader will see.
`python tools/refresh_notebooks.py 04 05` renews only those.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient

from playbook.checked import TABLES
from playbook.refusal import RefusalModel

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {"PYTHONHASHSEED": "0", "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}


def refresh(path: Path) -> None:
    """Execute one notebook and write it back with outputs, stable cell ids and no metadata of this run."""
    book = nbformat.read(path, as_version=4)
    client = NotebookClient(book, timeout=900, kernel_name="python3", record_timing=False, store_widget_state=False,
                            extra_arguments=["--IPKernelApp.log_level=40"],
                            resources={"metadata": {"path": str(path.parent)}})  # fmt: skip
    client.execute()
    for number, cell in enumerate(book.cells):
        cell["id"] = f"c{number:02}"
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code":  # warnings carry this machine's paths; they are fixed at the cause, not stored
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(book, path)


def ship_refusal(artifact: Path) -> None:
    """Renew the calibration that serves clients without questions: the sample client's, from its tuning questions."""
    model = RefusalModel.model_validate(json.loads(artifact.read_text(encoding="utf-8"))["result"]["refusal"])
    shipped = model.model_dump(mode="json") | {"calibrated_on": f"the sample client: {model.calibrated_on}"}
    (TABLES / "refusal.yaml").write_text(yaml.safe_dump(shipped, sort_keys=False), encoding="utf-8")


def main() -> None:
    """Refresh the notebooks named on the command line (by number), or all."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {**ENVIRONMENT, "PLAYBOOK_ENGAGEMENTS": scratch}
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            if len(sys.argv) > 1 and path.name[:2] not in sys.argv[1:]:
                continue
            started = time.perf_counter()
            refresh(path)
            print(f"{path.name:28} {time.perf_counter() - started:5.0f} s", flush=True)
            if path.name.startswith("04"):
                ship_refusal(Path(scratch) / "sample" / "artifacts" / "04_rag.json")
            for artifact in sorted((Path(scratch) / "sample" / "artifacts").glob("*.json")):
                shutil.copyfile(artifact, ROOT / "data" / "sample_run" / artifact.name)


if __name__ == "__main__":
    main()
