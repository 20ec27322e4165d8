"""Codes of languages as people write them, and as Whisper names the same languages."""

from __future__ import annotations

import re

# Whisper's code first, then others of the same language: ISO 639-2 and 639-3, older two-letter codes, and single
# languages of a group where lists use their code for the whole (cmn, nob, fil).
_WHISPER = """
en eng, zh zho chi cmn, de deu ger, es spa, ru rus, ko kor, fr fra fre, ja jpn, pt por, tr tur, pl pol, ca cat, nl
nld dut, ar ara arb, sv swe, it ita, id ind, hi hin, fi fin, vi vie, he heb iw, uk ukr, el ell gre, ms msa may zsm,
cs ces cze, ro ron rum mo, da dan, hu hun, ta tam, no nor nb nob, th tha, ur urd, hr hrv, bg bul, lt lit, la lat, mi
mri mao, ml mal, cy cym wel, sk slk slo, te tel, fa fas per pes, lv lav lvs, bn ben, sr srp, az aze azj, sl slv, kn
kan, et est ekk, mk mkd mac, br bre, eu eus baq, is isl ice, hy hye arm, ne nep npi, mn mon khk, bs bos, kk kaz, sq
sqi alb, sw swa swh, gl glg, mr mar, pa pan, si sin, km khm, sn sna, yo yor, so som, af afr, oc oci, ka kat geo, be
bel, tg tgk, sd snd, gu guj, am amh, yi yid ji, lo lao, uz uzb uzn, fo fao, ht hat, ps pus pbt, tk tuk, nn nno, mt
mlt, sa san, lb ltz, my mya bur, bo bod tib, tl tgl fil, mg mlg plt, as asm, tt tat, haw, ln lin, ha hau, ba bak, jw
jv jav, su sun, yue
"""
# The rest of ISO 639-1: languages all the same, and the transcriber says that it does not know them.
_OTHERS = """
aa ab ae ak an av ay bi bm ce ch co cr cu cv dv dz ee eo ff fj fy ga gd gn gv ho hz ia ie ig ii ik io iu kg ki kj kl
kr ks ku kv kw ky lg li lu mh na nd ng nr nv ny oj om or os pi qu rm rn rw sc se sg sm ss st ti tn to ts tw ty ug ve
vo wa wo xh za zu
"""
_CODES = {code: group.split()[0] for group in _WHISPER.split(",") for code in group.split()}
_CODES |= {code: code for code in _OTHERS.split()}


def language_code(tag: str) -> str | None:
    """Whisper's code for a language tag: "zh" for "zh-CN", "zho" and "cmn"; None where it names no known language."""
    return _CODES.get(re.split(r"[-_]", tag.strip().lower())[0])
