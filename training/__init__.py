"""The whole way to the bundled model `mini`: draw scenes, train, evaluate, export. Needed by nobody who only searches."""
