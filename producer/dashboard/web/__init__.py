"""What all pages share: who visits, how a page is answered and rendered, and the files that browsers load.

visitor.py    a visitor, and what they may do
visit.py      one request for a page, and the responses to it
site.py       the pages as one application: who is admitted, and what errors look like
renderings.py charts and reports that take seconds, drawn once
rendering.py  the templates, their filters, and times
assets.py     style sheet and scripts, at addresses that change with their content
"""
