"""What leaves the house as figures and files, read from the tables of csms and billing.

So far the monthly collection (`collection`): one row per session that ended in a month, with its
point, badge, times and energy. It only reads; nothing in csms but the command line imports it.
"""
