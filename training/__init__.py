"""The whole way to the bundled model `mini`: draw scenes, train, export, evaluate.

Needed by nobody who only searches.
"""
