"""The command line over `Library`.

Only `render.py` prints, only `app.py` turns errors into exit codes.
"""
