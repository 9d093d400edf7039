"""The SQL of billing: one named function a statement, literal text, the caller's transaction.

One module per table that is written together; billing's other modules call these and nothing else
of psycopg.
"""
