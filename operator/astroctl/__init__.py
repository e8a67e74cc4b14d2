"""Where and when stages run: the command line and its targets. Never imports torch or ray."""
