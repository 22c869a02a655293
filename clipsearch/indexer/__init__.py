"""What makes a library match its folders: scan, read ahead, encode, commit."""
