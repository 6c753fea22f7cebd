"""The operator's face: HTTP API, live socket and the files of the console. Joined by `app.py`."""
