"""What every request passes through.

service.py          the objects that all requests of a process share
settings.py         settings of the API: `[api]` in annealq.toml, `ANNEALQ_API_*`
body_limit.py       middleware that limits the size of a request
run_permissions.py  the runs that a caller may see and change
problems.py         the body of every error response
errors.py           the status, code and hint of each kind of error
"""
