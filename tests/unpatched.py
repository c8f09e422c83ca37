"""Imported first, by conftest files: Locust without gevent's patches, which would stay.

Processes that the tests start are patched as ever.
"""

import os

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
import locust  # noqa: F401

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]
