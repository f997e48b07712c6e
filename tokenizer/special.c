#include "tokenizer/special.h"

#include <stddef.h>
#include <stdio.h>

sa2_status sa2_special_find(sa2_special *special, const sa2_tokenizer *tokenizer, sa2_error *err)
{
    sa2_special found;
    const struct {
        int32_t *id;
        const char *content;
    } wanted[] = {
        {&found.turn_begin, "<|BOT|>"},          {&found.turn_end, "<|EOT|>"},
        {&found.audio_start, "<audio_start>"},   {&found.audio_end, "<audio_end>"},
        {&found.audio_patch, "<audio_patch>"},   {&found.tts_start, "<tts_start>"},
        {&found.tts_end, "<tts_end>"},           {&found.tts_pad, "<tts_pad>"},
        {&found.speech_first, "<audio_0>"},      {&found.speech_pad, "<audio_6561>"},
        {&found.tool_call_begin, "<tool_call>"}, {&found.tool_call_end, "</tool_call>"},
        {&found.end_of_text, "<|endoftext|>"},   {&found.message_end, "<|im_end|>"},
    };
    sa2_status st = SA2_OK;
    if (err != NULL)
        *err = (sa2_error){0}; /* the lines below add up */
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        *wanted[i].id = sa2_tokenizer_find_added(tokenizer, wanted[i].content);
        if (*wanted[i].id < 0)
            st = sa2_fail_also(err, SA2_ERR_FORMAT, "tokenizer: no added token %s",
                               wanted[i].content);
    }
    for (int32_t code = 0; code <= SA2_SPEECH_CODES && st == SA2_OK; code++) {
        char content[32];
        snprintf(content, sizeof content, "<audio_%d>", (int)code);
        int32_t id = sa2_tokenizer_find_added(tokenizer, content);
        if (id != found.speech_first + code)
            st = sa2_fail(err, SA2_ERR_FORMAT,
                          "tokenizer: %s has id %d, %d expected after <audio_0>", content, (int)id,
                          (int)(found.speech_first + code));
    }
    if (st != SA2_OK)
        return st;
    found.stop_ids[0] = found.turn_end;
    found.stop_ids[1] = found.end_of_text;
    found.stop_ids[2] = found.message_end;
    *special = found;
    return SA2_OK;
}

bool sa2_special_is_stop(const sa2_special *special, int32_t id)
{
    for (int i = 0; i < SA2_N_STOP_IDS; i++) {
        if (special->stop_ids[i] == id)
            return true;
    }
    return false;
}

bool sa2_special_is_speech(const sa2_special *special, int32_t id)
{
    return id >= special->speech_first && id < special->speech_first + SA2_SPEECH_CODES;
}
