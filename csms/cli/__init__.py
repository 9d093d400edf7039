"""The verbs of `time2plug`, one module per noun, mounted by `csms.__main__`.

common says how every verb reaches the database and how it fails: one sentence, no traceback.
Modules that load slowly are imported inside the verb that needs them, so that help stays quick.
"""
