"""Pages for browsers, and the report of a run as one file.

    web/      what all pages share: visitors, responses, templates, files for browsers
    views/    the pages, one file for each
    report/   the report of a run
    charts/   charts and coloured tables

`producer.api.routes.pages` puts them together. `grafana.json` is a dashboard for Grafana,
`alerts.yml` rules for Prometheus that alert.
"""
