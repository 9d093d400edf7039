"""The national files of public points (etalab/schema-irve 2.3.1): what is written, and judged.

- schema: the columns of both files, what each takes;
- texts: the sentence of each finding, in French and English, by its code;
- findings: what is wrong in a row or a file, and what becomes of it nationally;
- checks: the rules for a row, and for rows together, those beyond the schema too;
- static_rows: the static file from what is stored; only public points in force, wrong ones told;
- consolidation: what the national consolidation would make of any static file;
- dynamic_rows: the dynamic file from the status as recorded;
- publication: both read from the database, for the command line and for whoever polls us;
- summary: what was written or judged, for people.

All but `publication` is pure: facts and the day in, rows and findings out. A wrong row stops itself
only: the others are written, for one invalid row makes the consolidation leave out the whole file.
"""
