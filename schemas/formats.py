"""Audio and codec formats: constants and names that all modules share."""

ASR_RATE = 16_000
"""sample rate in Hz of the audio that the diarizer, Whisper, the speaker encoder and DNSMOS take"""
ASR_SAMPLES_PER_MS = ASR_RATE // 1000
CODEC_RATE = 24_000
"""sample rate in Hz of the codec's audio, and of audio in shards"""
CODEC_SAMPLES_PER_MS = CODEC_RATE // 1000
CODEC_HOP = 320
"""samples per codec frame"""
FRAME_RATE = CODEC_RATE // CODEC_HOP
"""codec frames per second: 75"""
FRAME_MS = 1000 / FRAME_RATE
N_CODEBOOKS = 8
"""residual codebooks per frame: EnCodec at 6 kbit/s (Défossez et al. 2022, arXiv 2210.13438)"""
CODEBOOK_SIZE = 1024
"""codes are 0 … CODEBOOK_SIZE − 1"""
SPLITS = ("train", "valid", "test")
SOUND_ENDINGS = (".wav", ".flac", ".ogg", ".aiff")
"""of files that speech is written to"""

_AUDIO_NAMES = """
3g2 3gp 3gpp aac ac3 adts aif aifc aiff aiffc amr ape asf au avi bwf caf dts eac3 ec3 f4a f4v flac flv m2a m2ts m4a m4b m4r m4v
mka mkv mov mp1 mp2 mp3 mp4 mpa mpc mpeg mpg mpga mts nist oga ogg ogm ogv ogx opus qt ra rf64 rm rmvb snd sph spx ts tta voc vob
w64 wav wave weba webm wma wmv wv
"""
AUDIO_SUFFIXES = frozenset(f".{name}" for name in _AUDIO_NAMES.split())
"""of every container that a decoder reads (transforms/audio/ffmpeg.py); what a file truly is, its content decides"""


def codec_stage(name: str) -> str:
    """The stage, and the model, of a further codec."""
    return f"tokenize.{name}"
