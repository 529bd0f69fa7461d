"""Exit statuses: the same for every command."""

DONE, WRONG, UNUSABLE, QUARANTINED, CONFLICT, WORKER_LOST, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

MEANINGS = {
    DONE: "done",
    WRONG: "something is wrong with the corpus, or with the speech that was made",
    UNUSABLE: "the command, the configuration or the input cannot be used",
    QUARANTINED: "done, but some recordings are in quarantine",
    CONFLICT: "another build committed first; run the same command again",
    WORKER_LOST: "a worker process was lost; run the same command again",
    INTERRUPTED: "interrupted; run the same command again to resume",
}
