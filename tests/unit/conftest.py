"""Whatever these tests import, gevent's patches stay out of their process."""

from tests import unpatched as unpatched
