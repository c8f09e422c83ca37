"""`python -m bakeoff.load.engine DESCRIPTOR PARENT FILE...`, started by a Locust worker only."""

import sys

from bakeoff.load.engine.process import serve

serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
