"""What leaves the house as figures and files, read from the tables of csms and billing.

- collection, summary: one row per session that ended in a month, for people and files;
- outlet: the one mechanism by which anything is told to another system, over the table
  outlet_item; back_off (pure) says when it is tried again, outlet_desk is where a person settles
  what was refused;
- qualicharge: points, statuses and sessions of public points for the ministry's service, over three
  outlets; qualicharge_rows (pure) has its words and rules, qualicharge_client its requests.

It reads the tables of csms and billing and writes its own; csms.web, csms.serve and the command
line import it.
"""
