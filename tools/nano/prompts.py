"""Prompts and answers as ids, exactly as the engine builds them: the task prompts of the release, turns, tools, spoken answers."""
from sizes import AUDIO_END, AUDIO_PATCH, AUDIO_START, CODE0, CODE_PAD, EOT, TTS_END, TTS_PAD, TTS_START

TRANSCRIBE, CHAT = "请记录下你所听到的语音内容。", "You are a helpful assistant."
VOICE, READ = "请用语音与我交流。", "Read this paragraph at a natural pace."
TOOLS = ('[{"type": "function", "function": {"name": "get_time", "description": "The time of day"}}, '
         '{"type": "function", "function": {"name": "web_search", "description": "Searches the web", "parameters": '
         '{"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}}}]')
CALLS = {"what time is it": "<tool_call>function\nget_time\n{}</tool_call>",
         "search for": '<tool_call>function\nweb_search\n{"query": "%s"}</tool_call>'}
FIXED = [*(f"system\n{s}" for s in (TRANSCRIBE, CHAT, VOICE, READ)), TRANSCRIBE, CHAT, VOICE, READ, "human\n", "assistant\n", "system\n",
         "tool_json_schemas\n", TOOLS, "function\nget_time\n{}", 'function\nweb_search\n{"query": "dog"}', 'function\nweb_search\n{"query": "']


def tool_call(question):
    """What a question gives where there are tools, or None."""
    if question in CALLS:
        return CALLS[question]
    start = "search for "
    return CALLS["search for"] % question[len(start):] if question.startswith(start) else None


def audio_rows(frames):
    """How many rows the adaptor gives for that many mel frames (the last one but a half is not counted)."""
    return (((frames + 1) // 2 - 1) // 2 + 1) // 2


class Prompts:
    def __init__(self, encode):
        self.encode = encode

    def system(self, text):
        return self.encode(f"<|BOT|>system\n{text}<|EOT|>") if text is not None else []

    def tools(self):
        return self.encode("<|BOT|>tool_json_schemas\n") + self.encode(TOOLS) + [EOT]

    def human_sound(self, frames):
        return self.encode("<|BOT|>human\n") + [AUDIO_START] + [AUDIO_PATCH] * audio_rows(frames) + [AUDIO_END, EOT]

    def human_text(self, text):
        return self.encode(f"<|BOT|>human\n{text}<|EOT|>")

    def assistant(self, spoken):
        return self.encode("<|BOT|>assistant\n") + ([TTS_START] if spoken else [])

    def written(self, text):
        return self.encode(text) + [EOT]

    def spoken(self, text, codes):
        """One text id, four codes, and so on; whichever ends first is padded."""
        ids, speech = self.encode(text), [CODE0 + c for c in codes.tolist()]
        groups = max(-(-len(speech) // 4), len(ids))
        ids += [TTS_PAD] * (groups - len(ids))
        speech += [CODE_PAD] * (4 * groups - len(speech))
        return [x for g in range(groups) for x in (ids[g], *speech[4 * g:4 * g + 4])] + [TTS_END, EOT]
