"""Reason codes of rejected segments: what each means and what to do about it."""

REASONS: dict[str, str] = {
    # exclude, corrections
    "excluded": "left out on purpose: the reason is in `exclude` of the release's configuration",
    "marked_wrong": "a listener rejected it: the reason is in `corrections.rejected` of the release's configuration",
    # segment
    "overlap": "a second voice is heard: expected in conversation; otherwise raise diarize.max_second_voice",
    "speaker_change": "two speakers follow each other without a pause: expected in conversation",
    "too_short": "less than segment.min_s of one speaker between long pauses or other speakers",
    "no_pause": "more than segment.max_s without a pause: expected in music and loud noise",
    # purity
    "mixed_voices": "the segment may hold two voices: expected in conversation; otherwise raise the limits of purity",
    # filter
    "low_speech_ratio": "too little of the segment is speech: check diarize.threshold, or lower filter.min_speech_ratio",
    "low_dnsmos": "low audio quality (DNSMOS OVRL): clean the audio, or lower filter.min_dnsmos_ovrl",
    "low_snr": "the noise is too loud: clean the audio, or lower filter.min_snr_db",
    "narrow_band": "high frequencies are missing: use a less compressed source, or lower filter.min_bandwidth_hz",
    "clipped": "the audio is clipped: use a source with a lower level, or raise filter.max_clipping",
    "dropouts": "sound is missing in the middle of speech, or played twice: use a better source, or raise filter.max_dropouts",
    "music": "music or hum is under the voice: use a source without it, or raise filter.max_background_tonality",
    "cut_word": "sound begins or ends at once, in the middle of a word: use a whole recording, or raise filter.max_edge_jump",
    "codec_trace": "the sound passed through voxbeam's codec, as made speech does: leave the source out, or raise "
    "filter.max_codec_trace",
    "quiet": "the audio is almost silent: raise its level, or lower filter.min_loudness_lufs",
    "no_text": "the transcript has no words: expected in noise and music; otherwise use a larger transcribe.model",
    "language": "the language is not the listed one, or uncertain: correct the listing, or lower filter.min_language_probability",
    "low_logprob": "the transcript is uncertain: use a larger transcribe.model, or lower filter.min_avg_logprob",
    "no_speech": "Whisper finds no speech: expected in noise and music; otherwise raise filter.max_no_speech_prob",
    "repetitive": "the text repeats itself: use a larger transcribe.model, or raise filter.max_compression_ratio",
    "too_slow": "too little text for the duration, so words are missing: lower filter.min_chars_per_second if the speech is slow",
    "too_fast": "too much text for the duration, so words are invented: raise filter.max_chars_per_second if the speech is fast",
    "sped_up": "speech is faster than people speak: use the recording at its speed, or raise filter.max_spectral_pace",
    "ngram_loop": "the same words repeat in a row: use a larger transcribe.model, or raise filter.max_ngram_repeats",
    "few_unique_words": "too few different words: use a larger transcribe.model, or lower filter.min_unique_words",
    "differs_from_text": "the transcript differs from the listed text: correct the text, or raise filter.max_reference_wer",
    "recognizers_differ": "a second recognizer hears other words: use a larger transcribe.model, or raise filter.max_second_wer",
    "repetition": "recognizers disagree how often a word is repeated: raise filter.max_second_repeats if that does not matter",
    "hallucinated_phrase": "Whisper writes this phrase for silence: remove it from filter.hallucinated_phrases if it is spoken",
    # phonemize
    "unspoken_symbol": "a sign, emoji or foreign script in the text has no spoken form: see docs/spoken_form.md",
    "unknown_phone": "a phone of the text is not in the phone set, often in a foreign word: see tools/build_phones.py",
}
