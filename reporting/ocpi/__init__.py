"""OCPI 2.2.1 as a CPO behind a hub.

`objects` has the shapes of the specification (branch release-2.2.1-bugfixes), written strictly and
read leniently, `kinds` their texts, times and words; `cdrs` says what a priced session used and
cost. Pure.
"""
