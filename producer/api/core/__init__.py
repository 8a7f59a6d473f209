"""What every request passes through.

service.py          the objects that all requests of a process share
request_log.py      middleware that gives each request an id and a log line
logs.py             the format of log lines
key_check.py        middleware that identifies callers before a body is read
body_limit.py       middleware that limits size and time of a request's body
run_permissions.py  the runs that a caller may see and change
problems.py         the body of every error response
errors.py           the status, code and hint of each kind of error
"""
