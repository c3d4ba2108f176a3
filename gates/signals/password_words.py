"""The word for a password in scripts whose letters the rules cannot see.

Rules run over one byte a character (text.as_ascii), in which a Cyrillic or Chinese word is
only its length. So these words are first put into English, at the same length.
"""

import re

_WORDS = (
    "пароль", "пароля", "паролем", "密码", "密碼", "口令", "パスワード", "暗証番号", "비밀번호",
    "암호", "κωδικός", "كلمة المرور", "كلمة السر", "סיסמה", "הסיסמה", "पासवर्ड", "รหัสผ่าน",
    "mật khẩu",
)  # fmt: skip
PATTERN = "|".join(_WORDS)
_COMPILED = re.compile(PATTERN, re.IGNORECASE)
_ENGLISH = ("password", "passwd", "pass", "pwd", "pw")


def in_english(text: str) -> str:
    """The text, as long as before, with those words in English."""
    return text if text.isascii() else _COMPILED.sub(_english, text)


def _english(match: re.Match[str]) -> str:
    length = len(match.group())
    return next(word for word in _ENGLISH if len(word) <= length).rjust(length)
