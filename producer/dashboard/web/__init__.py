"""What all pages share: who visits, how a page is answered and rendered, and the files that browsers load.

visitor.py    a visitor, and what they may do
visit.py      one request for a page, and the responses to it
site.py       the pages as one application: who is admitted, and what errors look like
drawing.py    a chart or a report that takes seconds
renderings.py drawings, drawn once for their content
asked.py      renderings that only workers can compute
forms.py      texts of forms, as they were seen and as they were sent
transfers.py  forms with files, and results as files
parts.py      pages that update in parts
tables.py     tables as values, which one template writes
rendering.py  the templates, their filters, and times
assets.py     style sheet and scripts, at addresses that change with their content
"""
