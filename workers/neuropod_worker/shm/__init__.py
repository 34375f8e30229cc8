"""The shared-memory path: segments, arenas, frames, mailboxes, doorbells. Shared by both sides."""
