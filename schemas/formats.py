"""Audio and codec formats: constants that all modules share."""

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
