#include "runtime/serving/script.h"

#include "tokenizer/ta4.h"

enum { GROUP = 1 + SA2_TA4_CODES };

int sa2_script_speech_ids(const sa2_special *special)
{
    return special->speech_pad - special->speech_first + 1;
}

sa2_script sa2_script_of(const sa2_special *special, const int32_t *ids, int n, int32_t *speech)
{
    sa2_script s = {.ids = ids,
                    .n = n,
                    .end = {special->tts_pad, special->tts_end},
                    .stop = special->stop_ids[0],
                    .speech = speech,
                    .n_speech = sa2_script_speech_ids(special)};
    for (int i = 0; i < s.n_speech; i++)
        speech[i] = special->speech_first + i;
    return s;
}

int sa2_script_least_tokens(int n)
{
    return n * GROUP + 2; /* <tts_end> and the end of the turn */
}

sa2_token_list sa2_script_next(const sa2_script *s, const int32_t *generated, int n_generated)
{
    int group = n_generated / GROUP;
    if (s->n == 0)
        return (sa2_token_list){0};
    if (n_generated > 0 && generated[n_generated - 1] == s->end[1])
        return (sa2_token_list){&s->stop, 1};
    if (n_generated % GROUP != 0) /* silence only behind the text */
        return (sa2_token_list){s->speech, group < s->n ? s->n_speech - 1 : s->n_speech};
    if (group < s->n)
        return (sa2_token_list){&s->ids[group], 1};
    return (sa2_token_list){s->end, 2};
}
