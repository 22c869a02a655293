"""Keep a library sound: check it, repair it, copy it."""
