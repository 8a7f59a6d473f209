"""What HTTP asks of every answer, whatever its route.

heads.py        HEAD, as GET without its body
entity_tags.py  ETag, and 304 where nothing has changed
origins.py      pages of other sites that may read answers (CORS)
"""
