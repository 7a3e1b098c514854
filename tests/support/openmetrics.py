#!/usr/bin/env python3
"""What python3-prometheus-client makes of OpenMetrics on stdin: each family's name and how many samples it has."""
import sys

try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError:
    sys.exit(77)
for family in text_string_to_metric_families(sys.stdin.read()):
    print(family.name, len(family.samples))
