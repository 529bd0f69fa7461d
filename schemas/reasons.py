"""Reasons: every code that a rejected segment may carry, what it means, and what to do about it."""

REASONS: dict[str, str] = {
    # cut
    "overlap": "two voices speak at once: expected in conversation",
    "speaker_change": "two voices follow each other without a pause: expected in conversation",
    "too_short": "less than cut.min_s of one voice between long pauses or other voices",
    "no_pause": "more than cut.max_s without a pause to cut at: expected in music and strong noise",
    # judge
    "low_speech_ratio": "little of it is the voice: lower judge.min_speech_ratio, or check the diarizer's threshold",
    "low_dnsmos": "it sounds bad (DNSMOS OVRL): clean the audio, or lower judge.min_dnsmos_ovrl",
    "low_snr": "noise stands close to the voice: clean the audio, or lower judge.min_snr_db",
    "narrow_band": "high frequencies are missing: find a less compressed source, or lower judge.min_bandwidth_hz",
    "clipped": "the recording is overdriven: find one at a lower level, or raise judge.max_clipping",
    "quiet": "it is nearly silent: raise the level of the recording, or lower judge.min_loudness_lufs",
    "no_text": "the recognizer heard no words: expected in noise and music; otherwise try a larger transcribe.model",
    "language": "it is not, or not surely, in the listed language: correct the listing, or lower judge.min_language_probability",
    "low_logprob": "the recognizer was unsure: try a larger transcribe.model, or lower judge.min_avg_logprob",
    "no_speech": "the recognizer thinks nobody speaks: expected in noise and music; otherwise raise judge.max_no_speech_prob",
    "repetitive": "the text compresses like a loop: try a larger transcribe.model, or raise judge.max_compression_ratio",
    "too_slow": "too little text for its length, so words are missing: lower judge.min_chars_per_second for slow speech",
    "too_fast": "too much text for its length, so words are invented: raise judge.max_chars_per_second for fast speech",
    "ngram_loop": "the same words come again and again in a row: try a larger transcribe.model, or raise judge.max_ngram_repeats",
    "few_unique_words": "few of its words differ: try a larger transcribe.model, or lower judge.min_unique_words",
    "hallucinated_phrase": "the text is a phrase that recognizers invent in silence: take it out of judge.phrases if it was said",
    # phonemize
    "unknown_phone": "the text needs a phone outside the phone set, often a foreign word: see tools/build_phones.py",
}
