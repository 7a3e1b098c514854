#!/usr/bin/env python3
"""What python3-prometheus-client makes of OpenMetrics on stdin: each family's name and how many samples it has.

The parser drops what comes twice, which Prometheus refuses: that is looked for here.
"""
import collections
import sys

try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError:
    sys.exit(77)
page = sys.stdin.read()
for family in text_string_to_metric_families(page):
    print(family.name, len(family.samples))
series = collections.Counter(line.rsplit(' ', 1)[0] for line in page.splitlines() if not line.startswith('#'))
twice = [name for name, n in series.items() if n > 1]
if twice:
    sys.exit('\n'.join(f'twice: {name}' for name in twice))
