"""The load engine: a child process of each Locust worker, on uvloop, without gevent's patches."""
