"""Phrases that give a teacher away: refusals, and talk about the request.

Belongs here: the patterns. Does not belong here: the gates that use them (``texts.py``), reading answers
(``generation/answers.py``).
"""

import re

_CANNOT = r"(?:can(?:['\u2019]t|not| not)|am (?:unable|not able) to|won['\u2019]t|will not|could not|couldn['\u2019]t)"
_REQUESTED = r"(?:fulfil?l|comply|assist|generate|create|produce|complete|provide|write|help|answer|continue|engage)"

# What a model says of itself when it will not do as asked. Narrow: real texts are sorry and cannot help things too.
REFUSES = re.compile(
    r"\bas an ai (?:language )?(?:model|assistant|system)\b"
    r"|\bas a (?:large )?language model\b"
    r"|^i(?:['\u2019]| a)m (?:very |so )?(?:sorry|afraid),? (?:but )?(?:that )?i can(?:['\u2019]t|not| not) .{0,40}"
    r"\bwith (?:that|this)(?: request)?[.!]?$"
    rf"|^(?:(?:i(?:['\u2019]| a)m|i) (?:very |so )?(?:sorry|apologi[sz]e|afraid),? (?:but )?)?i {_CANNOT} "
    rf"{_REQUESTED}\b.{{0,80}}\b(?:request|prompt|content|review|text|example|sentence|instructions?)s?\b"
    r"|\bagainst my (?:programming|guidelines|policy|policies|principles)\b"
    r"|\b(?:goes|go) against (?:ethical|openai|content) (?:guidelines|polic(?:y|ies))\b",
    re.IGNORECASE,
)

_THING = (
    r"(?:review|example|sentence|text|statement|hypothes[ie]s|premise|question|pair|sample|version|utterance|query)s?"
)

# Talk about the request instead of the text, and places left for the reader to fill.
META_TALK = re.compile(
    rf"^(?:sure|certainly|of course|absolutely)[,!.:]? (?:here|i)\b"
    rf"|^here(?:['\u2019]s| is| are) (?:a|an|the|your|some|another|my|one|\d+)\b(?: [\w-]+){{0,4}} {_THING}\b.{{0,60}}:"
    rf"|\bas (?:requested|per your request)\b"
    rf"|\b(?:new|generated|rewritten|requested|given|above) {_THING} (?:with|for|of) (?:the )?label\b"
    r"|[\[<{](?:insert|your|name|product|movie|film|title|company|city|place|date|x+)\b[^\]>}\n]{0,40}[\]>}]"
    r"|\blorem ipsum\b"
    r"|^\(?note: (?:this|the|i) "
    r"|\b(?:hope this helps|let me know if you (?:need|want|would)|feel free to (?:ask|modify|adjust))\b"
    r"|\bword count: ?\d",
    re.IGNORECASE,
)
