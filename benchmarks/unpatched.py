"""Imported first: Locust without gevent's patches, which would stay in the measuring process.

Processes that are measured are patched as ever.
"""

import os

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
import locust  # noqa: F401

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]
