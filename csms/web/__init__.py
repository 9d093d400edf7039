"""HTTP: the operator API, the pages, metrics and health.

app puts it together, and health is all that a process without this part has; guard stands before
everything (keys, log-ins, body limit, headers), with callers (from where), cookies and auditing
(who did what); problems says every error as RFC 9457; fields, models and record_models are the
shapes on the wire; the *_api modules are the operations, each a thin edge over csms.registry and
csms.store, listing their pages; settling is the desk's one write; pages and docs are what people
see; login_pages, account_pages and manager_* (of whoever manages a client: the month, statements,
invoices, users) come from templates, by rendering, page_texts and manager_texts. A response leaves
after the commit of what it says.
"""
