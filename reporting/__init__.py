"""What leaves the house as figures and files, read from the tables of csms and billing.

- collection, summary: the monthly collection, one row per session that ended in a month, with its
  point, badge, times and energy; and its page for people;
- availability: the seconds that a point could be used, by stated definitions (pure);
- load_curve: mean power by quarter of an hour, against the subscribed power (pure);
- irve: the national files of public points, static and dynamic, and the judgement of any such file;
- store, store_irve: the SQL.

It only reads; csms's command line and web, nothing below them, import it.
"""
