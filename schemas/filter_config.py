"""The section `filter` of the configuration: a limit for each rule."""

from pydantic import Field

from voxbeam.schemas.section import Section


class FilterConfig(Section):
    """What a segment must reach to be accepted. Null turns a rule off. A rejected segment lists every rule that it fails."""

    min_speech_ratio: float | None = Field(
        0.6, ge=0, le=1, description="fraction of the segment in which the diarizer finds its speaker"
    )
    min_dnsmos_ovrl: float | None = Field(
        2.2, ge=0, le=5, description="read speech has 2.4 to 3.5, noise below 1.9; Emilia uses 3.0"
    )
    min_snr_db: float | None = Field(10.0, le=100)
    min_bandwidth_hz: float | None = Field(3400.0, ge=0, le=24_000, description="telephone speech")
    max_clipping: float | None = Field(0.001, ge=0, le=1, description="fraction of samples at full scale")
    max_dropouts: float | None = Field(
        0.005, ge=0, le=1, description="fraction of the time lost to gaps in the middle of sound, repeated packets and loops"
    )
    max_background_tonality: float | None = Field(
        0.15,
        ge=0,
        le=1,
        description="music in the pauses is above this; it counts only where DNSMOS BAK is below max_music_dnsmos_bak",
    )
    max_music_dnsmos_bak: float | None = Field(
        3.3, ge=0, le=5, description="clean speech with mains hum is above this, music 15 dB below a voice is not"
    )
    max_edge_jump: float | None = Field(
        0.9,
        ge=0,
        le=1,
        description="share of the range of levels within 3 ms: above it, a word is cut at the beginning or the end",
    )
    max_codec_trace: float | None = Field(
        2.0,
        description="where score.codec_trace is on: log-likelihood ratio from which speech is taken for that of voxbeam's models",
    )
    min_loudness_lufs: float | None = Field(-50.0, le=0, description="far-field meetings are near −45")
    min_language_probability: float | None = Field(0.5, ge=0, le=1)
    min_avg_logprob: float | None = Field(-1.0, le=0)
    max_no_speech_prob: float | None = Field(0.6, ge=0, le=1)
    max_compression_ratio: float | None = Field(2.4, ge=0)
    min_chars_per_second: float | None = Field(4.0, ge=0)
    max_chars_per_second: float | None = Field(25.0, ge=0)
    max_spectral_pace: float | None = Field(
        0.45, ge=0, description="speech sped up twice is above this; it counts only above min_hurried_chars_per_second"
    )
    min_hurried_chars_per_second: float | None = Field(
        15.0, ge=0, description="with fewer letters per second, sound that changes fast is noise, or an articulate voice"
    )
    max_ngram_repeats: int | None = Field(
        4, ge=1, description="the same three words this many times in a row are a hallucination"
    )
    max_reference_wer: float | None = Field(
        0.5, ge=0, description="word error rate against the listed text, where there is one; a wrong text has 0.8 or more"
    )
    max_second_wer: float | None = Field(
        0.5, ge=0, description="share of words in which the second recognizer differs, where it was asked"
    )
    max_second_repeats: int | None = Field(
        0, ge=0, description="how many repetitions of a word more or fewer the second recognizer may hear, where it was asked"
    )
    min_unique_words: float | None = Field(
        0.3, ge=0, le=1, description="different words / all words, for texts of 10 words or more"
    )
    hallucinated_phrases: tuple[str, ...] = Field(
        (
            "thanks for watching",
            "thank you for watching",
            "please subscribe",
            "subscribe to my channel",
            "subtitles by",
            "subtitled by",
            "amara.org",
            "transcription by",
            "copyright",
        ),
        description="phrases that Whisper writes for silence; a text that is at least half such a phrase is rejected",
    )
