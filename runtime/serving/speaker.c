#include "runtime/serving/speaker.h"

void sa2_speaker_add(sa2_speaker *speaker, sa2_utterance *utterance)
{
    sa2_utterance **end = &speaker->first;
    while (*end != NULL)
        end = &(*end)->next;
    utterance->listed = true;
    utterance->next = NULL;
    *end = utterance;
}

void sa2_speaker_remove(sa2_speaker *speaker, sa2_utterance *utterance)
{
    if (!utterance->listed)
        return;
    sa2_utterance **link = &speaker->first;
    while (*link != utterance)
        link = &(*link)->next;
    *link = utterance->next;
    utterance->listed = false;
    sa2_speech_drop(speaker->token2wav, &utterance->speech);
}

/* Whether it has a stream, or one is free for it. */
static bool can_go_on(const sa2_speaker *speaker, const sa2_utterance *u)
{
    return sa2_speech_ready(speaker->token2wav, &u->speech) &&
           (u->speech.slot >= 0 || sa2_speech_can_start(speaker->token2wav));
}

bool sa2_speaker_ready(const sa2_speaker *speaker)
{
    for (const sa2_utterance *u = speaker->first; u != NULL; u = u->next)
        if (can_go_on(speaker, u))
            return true;
    return false;
}

typedef struct step {
    sa2_utterance *utterances[SA2_VOCODER_SOUNDS];
    sa2_speech *speeches[SA2_VOCODER_SOUNDS];
    int n;
    sa2_speaker_sink sink;
    void *context;
} step;

static void pass_on(void *context, int i, const float *samples, int64_t n)
{
    const step *s = context;
    s->sink(s->context, s->utterances[i], samples, n);
}

sa2_status sa2_speaker_step(sa2_speaker *speaker, sa2_speaker_sink sink, void *context,
                            sa2_error *err)
{
    sa2_token2wav *t = speaker->token2wav;
    sa2_status st = SA2_OK;
    step s = {.sink = sink, .context = context};
    for (sa2_utterance *u = speaker->first; u != NULL && st == SA2_OK; u = u->next) {
        if (!can_go_on(speaker, u))
            continue;
        s.utterances[s.n] = u;
        s.speeches[s.n++] = &u->speech;
        if (u->speech.slot < 0)
            st = sa2_speech_start(t, &u->speech, u->seed, err);
    }
    int n_chunks = 0;
    if (st == SA2_OK)
        st = sa2_speech_step(t, s.speeches, s.n, pass_on, &s, &n_chunks, err);
    for (int i = 0; st != SA2_OK && i < s.n; i++)
        s.utterances[i]->lost = true;
    return st;
}
