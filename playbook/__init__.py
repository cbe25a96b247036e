"""The package behind the playbook's notebooks.

Importing it does one thing: it switches off telemetry and tracing, before any other library can start them. It
imports nothing, prints nothing and creates nothing.
"""

import os

__version__ = "0.1.0"

# Client text must not leave the machine by a default somebody else chose. Set before langchain, transformers and
# huggingface_hub read their environment; `setdefault` leaves a deliberate choice of the user alone.
for _name, _value in {
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}.items():
    os.environ.setdefault(_name, _value)
