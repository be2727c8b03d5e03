"""Names of the scripts that characters belong to, for messages."""

from __future__ import annotations

import re
import unicodedata

_WORDS_BEFORE_KIND = re.compile(
    r"(.+?)[ -](?:CAPITAL|SMALL|LETTER|SYLLABLE|SYLLABICS|VOWEL|CONSONANT|SIGN|MARK|DIGIT|CHARACTER|IDEOGRAPH)\b"
)
# Beginning of a character's Unicode name -> name of its script for users.
_SCRIPTS = {
    "CJK": "Han (Chinese, Japanese)",
    "IDEOGRAPHIC": "Han (Chinese, Japanese)",
    "KANGXI": "Han (Chinese, Japanese)",
    "HIRAGANA": "Hiragana (Japanese)",
    "KATAKANA": "Katakana (Japanese)",
    "HANGUL": "Hangul (Korean)",
    "BOPOMOFO": "Bopomofo (Chinese)",
    "FULLWIDTH": "full-width",
    "HALFWIDTH": "half-width",
}
_EMOJI = range(0x1F000, 0x20000)


def script_of(character: str) -> str:
    """Return the name of a character's script for users, such as ``Thai``; ``emoji`` or ``symbols`` for others."""
    name = unicodedata.name(character, "")
    if ord(character) in _EMOJI:
        return "emoji"
    if unicodedata.category(character)[0] not in "LMN" or not name:
        return "symbols"
    if (first := re.split("[ -]", name)[0]) in _SCRIPTS:
        return _SCRIPTS[first]
    words = _WORDS_BEFORE_KIND.match(name)
    return (words[1] if words else first).title()
