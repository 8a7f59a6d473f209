"""API keys: who sends a request, and what its owner may do.

keys.py            add, rotate, expire, revoke and identify keys of owners
owners.py          owners: shown, and changed
listing.py         keys for display
sessions.py        browsers that are logged in to the pages
last_use.py        a thread that writes when keys and sessions were used
failed_logins.py   wrong keys: logged, and limited by address
authentication.py  the caller of a request, by its key; a visitor of the pages, by a session
local_token.py     the token of this machine's user
origins.py         where a request without a key comes from
rates.py           headers that tell how many requests are left
limits.py          requests per minute, images and QPU time per day
"""
