"""Decoding: files and windows of audio in a sandboxed child process, pauses, signal quality."""
