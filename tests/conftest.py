"""Before any test imports PyTorch: its threads share the machine with browsers, and no test may reach for the hub."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

# What is slow is told by benchmarks, never by a timed test.
settings.register_profile("studio", deadline=None)
settings.load_profile("studio")
