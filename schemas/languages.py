"""Languages: the ISO 639-1 code of a language as people write it, such as `eng`, `English` or `en_GB`."""

import re

_TABLE = """
af afr afrikaans|am amh amharic|ar ara arabic|as asm assamese|az aze azerbaijani|ba bak bashkir|be bel belarusian|bg bul bulgarian
bn ben bengali|bo bod tibetan|br bre breton|bs bos bosnian|ca cat catalan|cs ces czech|cy cym welsh|da dan danish|de deu german
el ell greek|en eng english|eo epo esperanto|es spa spanish|et est estonian|eu eus basque|fa fas persian|fi fin finnish
fo fao faroese|fr fra french|fy fry frisian|ga gle irish|gl glg galician|gu guj gujarati|ha hau hausa|he heb hebrew|hi hin hindi
hr hrv croatian|ht hat haitian|hu hun hungarian|hy hye armenian|id ind indonesian|is isl icelandic|it ita italian|ja jpn japanese
jv jav javanese|ka kat georgian|kk kaz kazakh|km khm khmer|kn kan kannada|ko kor korean|ky kir kyrgyz|la lat latin
lb ltz luxembourgish|ln lin lingala|lo lao lao|lt lit lithuanian|lv lav latvian|mg mlg malagasy|mi mri maori|mk mkd macedonian
ml mal malayalam|mn mon mongolian|mr mar marathi|ms msa malay|mt mlt maltese|my mya burmese|ne nep nepali|nl nld dutch
nn nno nynorsk|no nor norwegian|oc oci occitan|or ori odia|pa pan punjabi|pl pol polish|ps pus pashto|pt por portuguese
ro ron romanian|ru rus russian|rw kin kinyarwanda|sa san sanskrit|sd snd sindhi|si sin sinhala|sk slk slovak|sl slv slovenian
sn sna shona|so som somali|sq sqi albanian|sr srp serbian|su sun sundanese|sv swe swedish|sw swa swahili|ta tam tamil
te tel telugu|tg tgk tajik|th tha thai|tk tuk turkmen|tl tgl tagalog|tr tur turkish|tt tat tatar|ug uig uyghur|uk ukr ukrainian
ur urd urdu|uz uzb uzbek|vi vie vietnamese|xh xho xhosa|yi yid yiddish|yo yor yoruba|zh zho chinese|zu zul zulu
bo tib -|cs cze -|cy wel -|de ger -|el gre -|eu baq -|fa per farsi|fr fre -|hy arm -|is ice -|ka geo -|mi mao -|mk mac -|ms may -
my bur -|nl dut flemish|ro rum -|sk slo -|sq alb -|zh chi mandarin|zh cmn -|es - castilian
"""
_CODES = {
    name: row.split()[0] for line in _TABLE.split("\n") for row in line.split("|") if row for name in row.split() if name != "-"
}
_CODE = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]+)*")


def language_code(text: str) -> str:
    """The ISO 639-1 code of a language, without its region. A code of two or three letters that is not known is kept.

    Raises ValueError for what is neither a code nor the English name of a language.
    """
    plain = text.strip().lower()
    code = _CODES.get(plain) or ((match := _CODE.fullmatch(plain)) and _CODES.get(match[1], match[1]))
    if not code:
        raise ValueError(f"{text[:40]!r} is no language: write its ISO 639-1 code, such as 'en'")
    return code
