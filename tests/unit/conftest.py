"""Whatever these tests import, gevent's patches stay out of their process."""

from benchmarks import unpatched as unpatched
