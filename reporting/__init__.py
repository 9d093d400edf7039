"""What leaves the house as figures and files, read from the tables of csms and billing.

- collection, summary, manifest: the monthly collection, one row per session that ended in a month,
  with its point, badge, times and energy; its page for people; what was corrected or left out;
- availability (pure): the seconds that a point could be used, by stated definitions;
  availability_report (pure) has them of points, sites and clients, availability_reading reads their
  histories (csms keeps those of links and statuses);
- consumption (pure): what was charged, by whom, where and when; load_curve (pure): mean power by
  quarter of an hour, against the subscribed power; consumption_reading reads a batch at a time;
- windows: planned work, exclusions and subscribed powers, as people enter them; span: the days that
  a report is about;
- sheet: a report as what is shown of it (availability_sheet, consumption_sheet make one, with
  pictures); sheet_html, sheet_pdf, sheet_xlsx show it, report_files gives it as a file;
- irve: the national files of public points, static and dynamic, and the judgement of any such file;
- outlet: the one mechanism by which anything is told to another system, over the table
  outlet_item; outlet_desk is where a person settles what was refused, outlet_http has what requests
  have in common;
- qualicharge: points, statuses and sessions of public points for the ministry's service, over three
  outlets; qualicharge_rows (pure) has its words and rules, qualicharge_client its requests;
- datagouv: the static file uploaded to data.gouv.fr, and the link to the dynamic one, over two
  outlets; datagouv_client, its requests;
- ocpi: roaming over OCPI 2.2.1, with its own outlets, and what partners ask of us;
- store, store_*: the SQL.

It reads the tables of csms and billing and writes its own; csms.web, csms.serve and the command
line import it.
"""
