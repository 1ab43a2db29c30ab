"""Phrases that give a teacher away: refusals, and talk about the request.

Belongs here: the patterns. Does not belong here: the gates that use them (``texts.py``), reading answers
(``generation/answers.py``).
"""

import re

# An apostrophe, straight or curly.
_A = "['\u2019]"

_SORRY = (
    rf"(?:(?:i(?:{_A}| a)m (?:very |so |truly )?|very |so )?(?:sorry|afraid)"
    r"|(?:i (?:sincerely )?apologi[sz]e|(?:my )?apologies)(?: for [^.,\n]{1,40})?"
    r"|unfortunately|regrettably)[,.:;!]? (?:but )?(?:that )?"
)
_CANNOT = (
    rf"i(?: can(?:{_A}t|not| not)|(?:{_A}| a)m (?:unable|not able) to|{_A}m not (?:allowed|permitted) to"
    rf"| (?:won{_A}t|will not)(?: be able to)?| could not| couldn{_A}t)"
)
_DO = (
    r"(?:fulfil+|complete|process|accommodate|honou?r|do|answer|generate|create|produce|provide|write|compose"
    r"|comply with|respond to|(?:help|assist)(?: you)? (?:with|in)|(?:proceed|continue|engage) with)"
)
_THIS = r"(?:this|that|your|the requested|such(?: an?)?|any such|these|those)"
_TEXT = r"(?:content|material|reviews?|texts?|examples?|sentences?|statements?|premises?|hypothes[ie]s|questions?)"
_END = r"(?=[.!;,]|$| (?:as|because|since|due)\b)"

# What a model says of itself when it will not do as asked. Narrow: real texts are sorry and cannot help things too.
REFUSES = re.compile(
    r"\bas an ai (?:language )?(?:model|assistant|system|chatbot)\b"
    r"|\bas a (?:large )?language model\b"
    rf"|(?:^|[.!,;] |\bbut )as an (?:ai|artificial intelligence),? i"
    rf"(?:{_A}m| am| can| do| don{_A}t| have| must| will| won{_A}t| lack)"
    # "I cannot fulfill this request", "Unfortunately, I cannot provide that text"
    rf"|^(?:{_SORRY})?{_CANNOT} {_DO} {_THIS} (?:[\w-]+ )?(?:requests?|prompts?|instructions?)\b{_END}"
    rf"|^(?:{_SORRY})?{_CANNOT} (?:fulfil+|generate|create|produce|provide|compose) {_THIS} (?:[\w-]+ )?{_TEXT}{_END}"
    rf"|^{_SORRY}{_CANNOT} write {_THIS} (?:[\w-]+ )?{_TEXT}{_END}"
    # "I'm sorry, but I cannot generate a negative review of a film"
    rf"|^{_SORRY}{_CANNOT} (?:generate|create|produce|compose) (?:[\w-]+ ){{1,6}}{_TEXT}\b"
    # "Sorry, I can't help with that", and nothing else
    rf"|^(?:{_SORRY})?{_CANNOT} (?:assist|help)(?: you)? (?:with|in) (?:this|that)[.!]?$"
    rf"|^{_SORRY}{_CANNOT} (?:assist|help)(?: you)? [^.!?\n]{{0,40}}\bwith (?:this|that)[.!]?$"
    rf"|^(?:{_SORRY})?i (?:must|have to|need to|will have to) (?:respectfully |politely )?decline"
    rf" (?:{_THIS} (?:request|prompt|task)|to (?:fulfil+|comply|generate|create|produce|provide|write)\b)"
    r"|\bagainst my (?:programming|guidelines|policy|policies|principles)\b"
    r"|\b(?:goes|go) against (?:ethical|openai|content) (?:guidelines|polic(?:y|ies))\b",
    re.IGNORECASE,
)

_THING = (
    r"(?:review|example|sentence|text|statement|hypothes[ie]s|premise|question|pair|sample|version|utterance|query)s?"
)
_HERE_IS_A_THING = (
    rf"here(?:{_A}s| is| are) (?:an?|the|your|some|another|my|\d+|one|two|three|four|five|ten)\b"
    rf"(?: (?!that\b|which\b|who\b|where\b|with\b|and\b|an?\b)[\w-]+){{0,4}} {_THING}\b"
)

# Talk about the request instead of the text, and places left for the reader to fill.
META_TALK = re.compile(
    r"^(?:sure(?: thing)?|certainly|of course|absolutely)[,!.:]*"
    rf" (?:here (?:you (?:go|are)|it is)\b|{_HERE_IS_A_THING}"
    rf"|i(?:{_A}ll| will| can|{_A}d be (?:happy|glad) to| would be (?:happy|glad) to)"
    rf" (?:help (?:you )?with (?:that|this)\b|(?:write|create|generate|provide|give you) (?:[\w-]+ ){{1,4}}{_THING}\b))"
    rf"|^{_HERE_IS_A_THING}.{{0,60}}:"
    r"|\bas (?:requested|per your request)\b"
    rf"|\b(?:new|generated|rewritten|requested|given|above) {_THING} (?:with|for|of) (?:the )?label\b"
    r"|[\[<{](?:insert|your|name|product|movie|film|title|company|city|place|date|x+)\b[^\]>}\n]{0,40}[\]>}]"
    r"|\blorem ipsum\b"
    rf"|^\(?note: (?:this|the|these|i have|i{_A}ve) (?:[\w-]+ ){{0,3}}{_THING}\b"
    r"|\bhope (?:this|these) (?:helps?|meets?) (?:with )?your (?:needs|requests?|requirements?|task|dataset)\b"
    rf"|\blet me know if you(?: would|{_A}d)? (?:need|want|like)"
    r" (?:me to (?:write|change|adjust|modify|revise|generate|create)|any (?:changes|adjustments|revisions)"
    rf"|(?:any )?(?:an|another|more|other|further|additional|different) (?:[\w-]+ )?(?:{_THING}|variations?))\b"
    rf"|\bfeel free to (?:(?:modify|adjust|edit|customi[sz]e|tweak|adapt) (?:it|this|these|them|the {_THING})"
    rf"|ask (?:me )?for (?:an|another|more|other|additional) (?:[\w-]+ )?{_THING})\b"
    r"|\bword count: ?\d",
    re.IGNORECASE,
)
