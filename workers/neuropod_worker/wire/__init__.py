"""The wire: messages, their bytes and the tables of who may say what when. Shared by both sides; no I/O."""
